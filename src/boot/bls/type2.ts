/**
 * Unified kernel images in EFI/Linux, entries of type 2 (UAPI.1 "Type #2 EFI Unified Kernel Images"). Main thread.
 */
import { openUki } from '../entries/open-file.js';
import type { Volume } from '../entries/volume.js';
import type { UkiProfile } from '../pe/uki.js';
import { countedName } from './boot-counter.js';
import { listFiles, type MenuEntry, maxEntries, type Note, noting } from './menu-entry.js';
import { ukiFiles } from './uki-files.js';

export const type2Directory = '/EFI/Linux';
const suffix = /\.efi$/i;

export async function readType2(volume: Volume, note: Note): Promise<MenuEntry[]> {
  const entries: MenuEntry[] = [];
  for (const name of await listFiles(volume, type2Directory, suffix, note)) {
    entries.push(...(await readImage(volume, `${type2Directory}/${name}`, note)));
    if (entries.length < maxEntries) continue;
    note(`${type2Directory} offers ${maxEntries} entries and more; the rest is left out`);
    break;
  }
  return entries;
}

/** An entry for each profile of the image at `path`; none if it is no unified kernel image. */
export async function readImage(volume: Volume, path: string, note: Note): Promise<MenuEntry[]> {
  const uki = await noting(path, note, () => openUki(volume, path));
  const { name, counter } = countedName(path.slice(path.lastIndexOf('/') + 1));
  const fileId = name.toLowerCase();
  const entries: MenuEntry[] = [];
  for (const [index, profile] of (uki ?? []).entries()) {
    const about = description(profile);
    entries.push({
      kind: 'uki',
      id: index === 0 ? fileId : `${fileId}@${(profile.id ?? String(index)).toLowerCase()}`,
      fileId,
      counter,
      profile: index,
      title: about.name === undefined ? undefined : titleOf(about.name, profile, index),
      sortKey: about.sortKey,
      version: about.version,
      machineId: undefined,
      source: { partition: volume.partition, path },
      ...(await ukiFiles(volume, path, profile, note)),
      problem: undefined,
      shown: about.name !== undefined,
    });
  }
  return entries;
}

/** systemd takes the most precise name that os-release(5) has. */
function description({ osRelease, uname }: UkiProfile): { name?: string; version?: string; sortKey?: string } {
  const first = (...keys: string[]): string | undefined =>
    keys.map((key) => osRelease?.get(key)).find((value) => value !== undefined);
  const name = first('PRETTY_NAME', 'IMAGE_ID', 'NAME', 'ID');
  const version = first('IMAGE_VERSION', 'VERSION', 'VERSION_ID', 'BUILD_ID') ?? uname;
  const sortKey = first('IMAGE_ID', 'ID');
  return { ...(name && { name }), ...(version && { version }), ...(sortKey && { sortKey }) };
}

function titleOf(name: string, { id, title }: UkiProfile, index: number): string {
  const suffixed = title ?? (index === 0 ? undefined : (id ?? `Profile #${index + 1}`));
  return suffixed === undefined ? name : `${name} (${suffixed})`;
}
