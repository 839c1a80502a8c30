/**
 * systemd-boot's own configuration, /loader/loader.conf on the EFI System Partition (loader.conf(5)). Main thread.
 */
import { matchesGlob } from './pattern.js';
import { parseSnippet } from './snippet.js';

export interface LoaderConfig {
  /** Pattern of the ids to boot, in lower case; undefined: the first entry. */
  readonly default: string | undefined;
  /** Whether other boot loaders on the disk are offered. */
  readonly autoEntries: boolean;
  readonly autoFirmware: boolean;
  readonly notes: readonly string[];
}

export function parseLoaderConfig(text: string): LoaderConfig {
  let pattern: string | undefined;
  let autoEntries = true;
  let autoFirmware = true;
  const notes: string[] = [];
  for (const [key, value] of parseSnippet(text)) {
    if (key === 'default') {
      // What was booted last is in an EFI variable, and a disk has none: the first entry then. Other words are unknown.
      if (value.startsWith('@')) {
        if (value.toLowerCase() !== '@saved') notes.push(`default ${value} is not known to systemd-boot`);
        else pattern = undefined;
      } else {
        pattern = value.toLowerCase();
      }
    } else if (key === 'auto-entries') {
      autoEntries = boolean(value) ?? autoEntries;
    } else if (key === 'auto-firmware') {
      autoFirmware = boolean(value) ?? autoFirmware;
    }
  }
  return { default: pattern, autoEntries, autoFirmware, notes };
}

/** systemd's words for yes and no. */
function boolean(word: string): boolean | undefined {
  const lower = word.toLowerCase();
  if (['1', 'yes', 'y', 'true', 't', 'on'].includes(lower)) return true;
  return ['0', 'no', 'n', 'false', 'f', 'off'].includes(lower) ? false : undefined;
}

/**
 * Position of the first of `entries`, in menu order, that `default` names: by its id, or else by its file's name with the
 * boot counters, as systemd-boot before 258 compares it.
 */
export function findDefault(
  entries: readonly { readonly id: string; readonly file: string }[],
  pattern: string,
): number {
  const index = entries.findIndex(({ id }) => matchesGlob(pattern, id));
  return index >= 0 ? index : entries.findIndex(({ file }) => matchesGlob(pattern, file));
}
