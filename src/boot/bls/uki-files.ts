/**
 * What a unified kernel image loads: its own sections and those of its addons, EFI programs without a kernel that lie beside
 * it or count for all images of the file system (systemd-stub(7) "Companion Files"). Main thread.
 *
 * Addons of both directories are taken in the order of their names, those for all images first. Microcode goes to the front,
 * the last addon's first, since the kernel takes the first that it finds; initrds go to the end.
 */
import { openFile } from '../entries/open-file.js';
import type { FileReference, FileSection, Volume } from '../entries/volume.js';
import { readAddon, type UkiAddon, type UkiProfile } from '../pe/uki.js';
import { countedName } from './boot-counter.js';
import { type Note, noting } from './menu-entry.js';

const forAllImages = '/loader/addons';
const suffix = /\.addon\.efi$/i;
/** So many are taken of one directory, and so many directories are looked into on one file system. */
const maxAddons = 64;
const maxDirectories = 64;
/** The first systemd-stub that takes addons. */
const firstVersion = 254;

export interface UkiFiles {
  readonly kernel: FileReference;
  readonly initrds: readonly FileReference[];
  readonly cmdline: string;
}

interface Addon extends UkiAddon {
  readonly path: string;
}

/** `options` are passed to the image: they replace its own command line, not that of addons. */
export async function ukiFiles(
  volume: Volume,
  path: string,
  profile: UkiProfile,
  note: Note,
  options = '',
): Promise<UkiFiles> {
  const { partition } = volume;
  const part = (section: FileSection, of = path): FileReference => ({ partition, path: of, section });
  const addons = await addonsOf(volume, path, profile, note);
  const ofAddons = (key: 'ucode' | 'initrd'): FileReference[] =>
    addons.flatMap((addon) => (addon[key] === undefined ? [] : [part(addon[key], addon.path)]));
  const own = options === '' ? profile.cmdline : options;
  return {
    kernel: part(profile.linux),
    initrds: [
      ...ofAddons('ucode').reverse(),
      ...profile.initrds.map((section) => part(section)),
      ...ofAddons('initrd'),
    ],
    cmdline: [own, ...addons.map(({ cmdline }) => cmdline)].filter((text) => text).join(' '),
  };
}

async function addonsOf(volume: Volume, path: string, { stub, uname }: UkiProfile, note: Note): Promise<Addon[]> {
  const at = path.lastIndexOf('/') + 1;
  // What belongs to a counted image is called as if it were not counted, or by the whole name.
  const names = new Set([countedName(path.slice(at)).name, path.slice(at)]);
  const directories = [forAllImages, ...[...names].map((name) => `${path.slice(0, at)}${name}.extra.d`)];
  const found: Addon[] = [];
  for (const directory of directories) found.push(...(await readDirectory(volume, directory, note)));
  if (found.length > 0 && stub !== undefined && stub < firstVersion) {
    note(`${path}: its systemd-stub ${stub} takes no addons (${firstVersion} would); they are left out`);
    return [];
  }
  return found.filter((addon) => addon.uname === undefined || uname === undefined || addon.uname === uname);
}

/** The addons of the directories that were read: images share one of them. */
const known = new WeakMap<Volume, Map<string, readonly Addon[]>>();

async function readDirectory(volume: Volume, directory: string, note: Note): Promise<readonly Addon[]> {
  const directories = known.get(volume) ?? new Map<string, readonly Addon[]>();
  known.set(volume, directories);
  const read = directories.get(directory);
  if (read !== undefined) return read;
  const names = (await noting(directory, note, () => listAddons(volume, directory))) ?? [];
  if (names.length === 0) return [];
  if (directories.size === maxDirectories) {
    note(`${directory}: addons of more than ${maxDirectories} directories are not read`);
    return [];
  }
  if (names.length > maxAddons) note(`${directory} has ${names.length} addons; only ${maxAddons} are taken`);
  const addons: Addon[] = [];
  for (const name of names.slice(0, maxAddons)) {
    const path = `${directory}/${name}`;
    await noting(path, note, async () => {
      const file = await openFile(volume, path);
      const addon = file && (await readAddon(file));
      if (addon === undefined) note(`${path} is no addon of a unified kernel image that can be used`);
      else addons.push({ ...addon, path });
    });
  }
  directories.set(directory, addons);
  return addons;
}

async function listAddons({ fs }: Volume, directory: string): Promise<string[]> {
  if ((await fs.stat(directory))?.kind !== 'directory') return [];
  const files = (await fs.list(directory)).filter(({ kind, name }) => kind === 'file' && suffix.test(name));
  return files.map(({ name }) => name).sort();
}
