/**
 * One item of systemd-boot's menu while it is being put together. Main thread.
 */
import { TsvmmError } from '../../errors.js';
import type { BootEntry } from '../entries/boot-entry.js';
import type { FileReference, Volume } from '../entries/volume.js';
import { withHint } from '../entries/with-hint.js';
import type { MenuKeys } from './menu-order.js';

export interface MenuEntry extends MenuKeys {
  readonly kind: BootEntry['kind'];
  readonly source: FileReference;
  readonly kernel: FileReference | undefined;
  readonly initrds: readonly FileReference[];
  readonly cmdline: string;
  /** Why it cannot be booted. */
  readonly problem: string | undefined;
  /** Whether systemd-boot has it in its menu; it leaves out what lacks its kernel or says nothing of its system. */
  readonly shown: boolean;
}

/** Tells the user something about the configuration. */
export type Note = (text: string) => void;

/** Files read in one directory. */
export const maxFiles = 512;
/** Entries that one directory may give: an image has several profiles. */
export const maxEntries = 1024;

/** Runs `read`; damage in the image becomes a note and undefined. */
export async function noting<T>(what: string, note: Note, read: () => Promise<T>): Promise<T | undefined> {
  try {
    return await read();
  } catch (error) {
    if (!(error instanceof TsvmmError)) throw error;
    note(`${what}: ${withHint(error)}`);
    return undefined;
  }
}

/** The regular files of a directory that systemd-boot looks at; none if there is no such directory. */
export async function listFiles({ fs }: Volume, directory: string, suffix: RegExp, note: Note): Promise<string[]> {
  if ((await fs.stat(directory))?.kind !== 'directory') return [];
  const names = (await fs.list(directory))
    .filter(({ kind, name }) => kind === 'file' && suffix.test(name) && !/^(\.|auto-)/i.test(name))
    .map(({ name }) => name);
  if (names.length > maxFiles) note(`${directory} has ${names.length} files; only ${maxFiles} are read`);
  return names.slice(0, maxFiles);
}
