/**
 * A file of a guest's file system that is read in parts. Main thread.
 */
import type { PeSource } from '../pe/pe.js';
import { readUki, type Uki } from '../pe/uki.js';
import type { Volume } from './volume.js';

/** Undefined if there is no regular file at `path`. */
export async function openFile({ fs }: Volume, path: string): Promise<PeSource | undefined> {
  const found = await fs.stat(path);
  if (found?.kind !== 'file') return undefined;
  return { size: found.size, read: (offset, length) => fs.readRange(path, offset, length) };
}

/** The profiles of the unified kernel image at `path`; undefined if there is none. */
export async function openUki(volume: Volume, path: string): Promise<Uki | undefined> {
  const file = await openFile(volume, path);
  return file && readUki(file);
}
