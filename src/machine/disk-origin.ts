/**
 * Where a disk's medium comes from, and when it comes and goes: with each machine, or once for as long as its owner wants.
 * Main thread.
 */
import { quote } from '../disk/range.js';
import type { UserDisk, UserDiskFacts } from '../disk/user-disk.js';
import { TsvmmError } from '../errors.js';
import { DiskFunctions } from '../threads/disk-functions.js';
import { DiskRequests, type DiskWarning } from '../threads/user-disk-requests.js';
import { diskFacts } from './disk-handlers.js';
import { FileMedium, type FileMediumConfig } from './file-medium.js';
import type { FrozenDisk } from './frozen-disk.js';
import type { Medium } from './medium.js';
import { UserMedium } from './user-medium.js';

/** Beside this module once bundled (scripts/build.js). */
const workerUrl = new URL('./disk-worker.cjs', import.meta.url);

export interface OpenOptions {
  /** For messages of a disk that has no name of its own. */
  readonly what: string;
  /** What its functions do wrong; few. */
  readonly warn: DiskWarning;
  /** Ends the wait for it. */
  readonly signal: AbortSignal;
}

export interface DiskOrigin {
  /** For messages, if it has a name of its own. */
  readonly name?: string;
  /** What is known before it is open. */
  readonly facts: { readonly size: number; readonly readOnly: boolean } | undefined;
  /** What is open without a machine. */
  readonly held?: Medium;
  /** For one machine at a time, until it is released; undefined: there is nothing in it. */
  open(options: OpenOptions): Promise<Medium | undefined>;
  release(medium: Medium): Promise<void>;
  /** For good; it is not open. */
  dispose(): Promise<void>;
}

const close = (medium: Medium): Promise<void> => medium.close();
const nothing = async (): Promise<void> => {};

/** Of a drive with nothing in it. */
export const emptyOrigin: DiskOrigin = {
  facts: undefined,
  open: () => Promise.reject(new TsvmmError('ERR_TSVMM_STATE', 'there is nothing in this disk')),
  release: nothing,
  dispose: nothing,
};

/** An image that is opened for each machine. */
export const pathOrigin = (config: FileMediumConfig): DiskOrigin => ({
  name: quote(config.path),
  facts: undefined,
  open: () => FileMedium.open(config),
  release: close,
  dispose: nothing,
});

/** One that is open. */
export const openOrigin = (medium: FileMedium): DiskOrigin => ({
  name: quote(medium.name),
  facts: medium.open,
  held: medium,
  open: async () => medium,
  release: nothing,
  dispose: () => medium.close(),
});

/** What a disk was when it was frozen, which is released in the end. */
export const frozenOrigin = (frozen: FrozenDisk): DiskOrigin => ({
  ...(frozen.content === undefined ? {} : { name: quote(frozen.content.facts.path) }),
  facts: { size: frozen.size, readOnly: frozen.readOnly },
  open: async () => (frozen.content === undefined ? undefined : FileMedium.ofFrozen(frozen.content, frozen.layout!)),
  release: close,
  dispose: () => frozen.release(),
});

export function functionsOrigin(disk: UserDisk): DiskOrigin {
  const requests = new DiskRequests(disk);
  let { facts } = disk;
  return {
    facts,
    open: ({ what, warn, signal }) => UserMedium.open(new DiskFunctions(facts, requests, warn), what, signal),
    release: async (medium) => {
      facts = { ...facts, size: medium.open.size }; // it may have grown
      await medium.close();
    },
    dispose: nothing,
  };
}

export const moduleOrigin = (module: string, data: unknown): DiskOrigin => ({
  facts: undefined,
  open: async ({ what, warn, signal }) => {
    const { DiskModule } = await import('../threads/disk-module.js');
    const check = (values: Readonly<Record<string, unknown>>, functions: readonly string[]): UserDiskFacts => {
      const standIns = Object.fromEntries(functions.map((name) => [name, () => {}]));
      return diskFacts(`the disk of ${module}`, { ...values, ...standIns }, true);
    };
    const source = await DiskModule.start({ url: workerUrl, module, data, check, warn, signal });
    return UserMedium.open(source, what, signal);
  },
  release: close,
  dispose: nothing,
});

export const disposed = (what: string): TsvmmError => new TsvmmError('ERR_TSVMM_STATE', `${what} has been disposed`);
