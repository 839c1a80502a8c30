/**
 * The Boot Loader Specification entries of one GRUB configuration: the files that `blscfg` has read, newest first, and the
 * script that each becomes (`blscfg.c` of the Red Hat family's GRUB). Main thread.
 */
import { compareRpmNames } from '../bls/rpm-version.js';
import type { Setting } from '../bls/snippet.js';
import { maxCommandLine, maxInitrds } from '../disk-budget.js';
import type { FileReference } from '../entries/volume.js';
import type { Budget } from './budget.js';

export interface BlsEntry {
  /** The file's name without `.conf`. */
  readonly id: string;
  readonly settings: readonly Setting[];
  readonly source: FileReference;
  /** Stands before its paths: `/boot` for files that were written for a partition of their own and moved; else empty. */
  readonly prefix: string;
  /** Whether it is in the menu already. */
  visible: boolean;
}

/** So many files are read. */
export const maxBlsFiles = 512;

export class BlsEntries {
  /** Newest first. Two names that are the same version are one entry, the first that was read. */
  readonly sorted: BlsEntry[] = [];
  readonly #budget: Budget;

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  add(entry: BlsEntry): void {
    if (this.sorted.length === maxBlsFiles) return;
    for (const [index, other] of this.sorted.entries()) {
      this.#budget.charge();
      const order = compareRpmNames(entry.id, other.id);
      if (order === 0) return;
      if (order > 0) {
        this.sorted.splice(index, 0, entry);
        return;
      }
    }
    this.sorted.push(entry);
  }
}

export const blsValue = ({ settings }: BlsEntry, key: string): string | undefined =>
  settings.find(([name]) => name === key)?.[1];

export const blsValues = ({ settings }: BlsEntry, key: string): string[] =>
  settings.filter(([name]) => name === key).map(([, value]) => value);

/** Reads a variable of GRUB. */
export type Lookup = (name: string) => string | undefined;

/**
 * What the entry's menu item runs. Variables of `options` are taken now; those of `initrd`, which tuned(8) adds, when it runs.
 * Undefined for an entry without a Linux kernel, which GRUB leaves out.
 */
export function blsScript(entry: BlsEntry, get: Lookup, budget: Budget): string | undefined {
  const kernel = blsValue(entry, 'linux');
  if (kernel === undefined) return undefined;
  const options = expandOptions(blsValue(entry, 'options') ?? get('default_kernelopts') ?? '', get, budget);
  const initrds = blsValues(entry, 'initrd');
  const beside = initrds[0] ?? kernel;
  const early = (get('early_initrd') ?? '')
    .split(' ')
    .filter((name) => name !== '')
    .slice(0, maxInitrds + 1)
    .map((name) => beside.slice(0, beside.lastIndexOf('/') + 1) + name);
  const place = `($root)${entry.prefix}`;
  // `initrd` refuses more than it takes.
  const names = [...early, ...initrds].slice(0, maxInitrds + 1);
  const files = names.map((name) => place + name).join(' ');
  const lines = ['load_video', 'set gfxpayload=keep', 'insmod gzio', `linux ${place}${kernel} ${options}`.trimEnd()];
  if (files !== '') lines.push(`initrd ${files}`);
  return `${lines.join('\n')}\n`;
}

/** `$name` unless a backslash stands before it. A variable that is not set leaves nothing, one that is set ends in a space. */
function expandOptions(text: string, get: Lookup, budget: Budget): string {
  let length = text.length;
  return text.replace(/(?<!\\)\$([A-Za-z0-9_]+) ?/g, (_, name: string) => {
    const value = get(name);
    length += value?.length ?? 0;
    if (length > maxCommandLine)
      throw budget.exceeded(`makes a command line of more than ${maxCommandLine} characters`);
    return value === undefined ? '' : `${value} `;
  });
}
