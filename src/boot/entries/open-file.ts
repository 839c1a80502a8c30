/**
 * A file of a guest's file system that is read in parts. Main thread.
 */

import type { FileSystem } from '../fs/file-system.js';
import type { PeSource } from '../pe/pe.js';
import { readUki, type Uki } from '../pe/uki.js';
import type { Volume } from './volume.js';

/** Undefined if there is no regular file at `path`. */
export async function openFile({ fs }: Volume, path: string): Promise<PeSource | undefined> {
  const found = await fs.stat(path);
  if (found?.kind !== 'file') return undefined;
  return { size: found.size, read: (offset, length) => fs.readRange(path, offset, length) };
}

/** What was found before, of each file system: several entries and loaders may lead to one image. */
const known = new WeakMap<FileSystem, Map<string, Promise<Uki | undefined>>>();

/** The profiles of the unified kernel image at `path`; undefined if there is none. */
export function openUki(volume: Volume, path: string): Promise<Uki | undefined> {
  const images = known.get(volume.fs) ?? new Map<string, Promise<Uki | undefined>>();
  known.set(volume.fs, images);
  const uki = images.get(path) ?? openFile(volume, path).then((file) => file && readUki(file));
  images.set(path, uki);
  return uki;
}
