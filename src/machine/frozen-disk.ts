/**
 * A disk of a machine as it was at an instant: for forks, of which each gets a copy, and for a snapshot, which writes it to a
 * file or remembers the image. Main thread.
 *
 * It stays what it was, whatever becomes of the disk and its machine, until whoever has it releases it.
 */
import { constants } from 'node:fs';
import { closeFd, openFd, removeFile } from '../disk/file-calls.js';
import type { FrozenContent, ImageReference } from '../disk/frozen-content.js';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import type { DriveFacts } from './disk-fit.js';
import type { MediumChange } from './disk-host.js';
import type { DiskLayout } from './disk-layout.js';
import type { DriveConfig } from './disk-options.js';
import type { Medium } from './medium.js';

/** Beside this module once bundled (scripts/build.js). */
const workerUrl = new URL('./disk-copy-worker.cjs', import.meta.url);

export interface WriteOptions {
  readonly signal?: AbortSignal | undefined;
  /** Bytes, holes included. */
  readonly onProgress?: ((done: number, total: number) => void) | undefined;
  /** @internal */
  readonly worker?: URL;
}

/** How a machine had it. */
export interface FrozenDrive {
  readonly drive: DriveConfig;
  /** What its driver was told; undefined before a machine has powered on with it. */
  readonly told: DriveFacts | undefined;
}

export class FrozenDisk implements AsyncDisposable {
  readonly drive: DriveConfig;
  readonly told: DriveFacts | undefined;
  /** What was in it; undefined: nothing. */
  readonly content: FrozenContent | undefined;
  readonly layout: DiskLayout | undefined;
  #releasing: Promise<void> | undefined;

  /** Takes the content over. */
  constructor({ drive, told }: FrozenDrive, content?: FrozenContent, layout?: DiskLayout) {
    this.drive = drive;
    this.told = told;
    this.content = content;
    this.layout = layout;
  }

  /** Bytes, 0 when nothing was in it. */
  get size(): number {
    return this.content?.facts.size ?? 0;
  }

  get readOnly(): boolean {
    return this.content?.facts.readOnly ?? this.told?.readOnly ?? false;
  }

  /** The image that it was, for who would rather remember that: what is written to it afterwards is in it, too. */
  get reference(): ImageReference | undefined {
    return this.content?.facts.reference;
  }

  /**
   * Makes a file of it, which must not be there yet: a raw image, sparse, and not yet durable. The disk may be released
   * meanwhile. Rejects with `ERR_TSVMM_DISK_IO` or `signal`'s reason, and then there is no file.
   */
  async writeTo(path: string, { signal, onProgress, worker: url = workerUrl }: WriteOptions = {}): Promise<void> {
    const content = this.content?.hold();
    if (content === undefined) throw new TsvmmError('ERR_TSVMM_STATE', 'there is nothing in this disk to be written');
    try {
      const flags = constants.O_RDWR | constants.O_CREAT | constants.O_EXCL;
      const target = await openFd(path, flags, 0o600).catch((cause) => Promise.reject(cannotMake(path, cause)));
      try {
        const { copyDisk } = await import('../threads/disk-copy.js');
        const { open: disk, facts } = content;
        const tell = (done: number): void => onProgress?.(done, facts.size);
        await copyDisk({ url, disk, path: facts.path, target, signal, onProgress: tell });
      } catch (error) {
        await removeFile(path);
        throw error;
      } finally {
        await closeFd(target);
      }
    } finally {
      await content.release();
    }
  }

  /** For one more, who releases it as well. */
  hold(): FrozenDisk {
    return new FrozenDisk(this, this.content?.hold(), this.layout);
  }

  release(): Promise<void> {
    this.#releasing ??= this.content?.release() ?? Promise.resolve();
    return this.#releasing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.release();
  }
}

const cannotMake = (path: string, cause: Error): TsvmmError =>
  new TsvmmError('ERR_TSVMM_DISK_IO', `${quote(path)} cannot be made: ${cause.message}`, { details: { path }, cause });

/** How that medium is frozen. Throws `ERR_TSVMM_SNAPSHOT` if it cannot be; `what` is its place in a machine, if it has one. */
export function freezingOf(medium: Medium, what = 'disk0'): NonNullable<Medium['freezing']> {
  if (medium.freezing !== undefined) return medium.freezing;
  const index = /\d+$/.exec(what)?.[0] ?? '0';
  throw new TsvmmError(
    'ERR_TSVMM_SNAPSHOT',
    `${medium.name} is made of functions of the program: it cannot be frozen`,
    {
      hint: `give the machine that goes on from there a disk for it: disks: { ${index}: ... }`,
      details: { disk: Number(index) },
    },
  );
}

type Change = (change: Pick<MediumChange, 'syncs' | 'isTold' | 'prepare' | 'commit'>) => Promise<void>;

/** Between the requests of the medium's machine, which `change` sees to. */
export async function freezeMedium(
  medium: Medium,
  drive: FrozenDrive,
  place: string | undefined,
  change: Change,
): Promise<FrozenDisk> {
  const freezing = freezingOf(medium, place);
  let frozen: FrozenDisk | undefined;
  const prepare = async (): Promise<Medium> => {
    await frozen?.release(); // the machine has begun anew
    frozen = new FrozenDisk(drive, await freezing.freeze(), medium.layout);
    return medium;
  };
  try {
    await change({ syncs: false, isTold: false, prepare, commit: () => {} });
    return frozen!;
  } catch (error) {
    await frozen?.release();
    throw error;
  }
}

/** What was frozen of it has gone: whoever writes it need not keep anything any more. */
export async function forgetFrozen(medium: Medium, change: Change): Promise<void> {
  const prepare = async (): Promise<Medium> => {
    medium.freezing!.forget();
    return medium;
  };
  await change({ syncs: false, isTold: false, prepare, commit: () => {} });
  await medium.freezing!.forgotten();
}
