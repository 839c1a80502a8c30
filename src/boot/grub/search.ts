/**
 * `search` and its short forms: finds a file system by UUID, label or a file on it (GNU GRUB 2.06 manual §16.3.64
 * "search"). Main thread.
 */
import type { Volume } from '../entries/volume.js';
import type { GrubDisk } from './disk.js';
import { type OptionSpec, parseOptions } from './options.js';

export type SearchKind = 'fs-uuid' | 'label' | 'file';

export interface SearchRequest {
  readonly kind: SearchKind;
  readonly key: string;
  /** Variable that receives the device's name; undefined: GRUB only prints it. */
  readonly variable: string | undefined;
  /** Devices to try first. */
  readonly hints: readonly string[];
}

const options: Readonly<Record<string, OptionSpec>> = {
  file: { short: 'f' },
  label: { short: 'l' },
  'fs-uuid': { short: 'u' },
  set: { short: 's', value: 'optional' },
  'no-floppy': { short: 'n' },
  'efidisk-only': {},
  'root-dev-only': { short: 'r' },
  hint: { short: 'h', value: 'required' },
  'hint-bios': { value: 'required' },
  'hint-efi': { value: 'required' },
  'hint-baremetal': { value: 'required' },
  'hint-ieee1275': { value: 'required' },
  'hint-arc': { value: 'required' },
};

/** The arguments of `search`; undefined if they ask for nothing. */
export function parseSearch(args: readonly string[]): SearchRequest | undefined {
  const parsed = parseOptions(args, options, true);
  if (parsed === undefined) return undefined;
  const given = (name: string): readonly string[] => parsed.options.get(name) ?? [];
  const kind = (['label', 'fs-uuid', 'file'] as const).find((name) => parsed.options.has(name));
  // Hints for platforms that this version does not know stay among the arguments.
  const words = parsed.rest.filter((word) => !word.startsWith('--hint-'));
  const set = given('set').at(-1);
  // `--set UUID` without another argument: the word was not a variable.
  const key = words[0] ?? (set === '' ? undefined : set);
  if (kind === undefined || key === undefined) return undefined;
  const variable = words.length === 0 || set === '' ? 'root' : set;
  return { kind, key, variable, hints: [...given('hint'), ...given('hint-bios'), ...given('hint-baremetal')] };
}

/** `search.fs_uuid KEY [VARIABLE] [HINT...]` and its sisters. */
export function parseShortSearch(kind: SearchKind, args: readonly string[]): SearchRequest | undefined {
  const [key, variable, ...hints] = args;
  return key === undefined ? undefined : { kind, key, variable, hints };
}

export async function search(disk: GrubDisk, request: SearchRequest): Promise<Volume | undefined> {
  // A hint that ends in a comma stands for the disk and all its partitions: the order of the disk anyway.
  const hinted = request.hints.map((hint) => disk.volume(hint)).filter((volume) => volume !== undefined);
  for (const volume of [...new Set([...hinted, ...disk.volumes])]) {
    if (await matches(disk, volume, request)) return volume;
  }
  return undefined;
}

async function matches(disk: GrubDisk, volume: Volume, { kind, key }: SearchRequest): Promise<boolean> {
  switch (kind) {
    case 'fs-uuid':
      return volume.fs.uuid !== '' && volume.fs.uuid.toLowerCase() === key.toLowerCase();
    case 'label':
      return volume.fs.label !== '' && volume.fs.label === key;
    case 'file': {
      const at = disk.locate(`(${disk.nameOf(volume)})${key}`, undefined);
      return typeof at !== 'string' && (await disk.stat(at))?.kind === 'file';
    }
  }
}
