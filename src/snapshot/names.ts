/**
 * What files of a snapshot are called, and how a directory is recognised that a writer has not finished. Any thread.
 */
import { readdir } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { randomBytes } from '../host/random.js';

export const manifestName = 'manifest.json';
export const stateName = 'state.bin';
export const memoryName = 'memory.bin';
export const memoryHashesName = 'memory.hashes';
export const diskName = (index: number): string => `disk${index}.raw`;
export const diskHashesName = (index: number): string => `disk${index}.hashes`;

/** A name that no writer gives: see `temporaryName`. */
const unfinished = /\.tmp-[0-9a-f]{24}$/;

/** Where a snapshot is written before it is whole: beside its place, so that it can be renamed there. */
export const temporaryName = (directory: string): string => `${directory}.tmp-${randomBytes(12).toString('hex')}`;

/** Whether that is such a place, by its name: whatever is in it, its writer has not said that it is whole. */
export const isUnfinished = (directory: string): boolean => unfinished.test(basename(directory));

/** What writers that were killed, or are still writing, have beside the place of `directory`. */
export async function unfinishedBeside(directory: string): Promise<string[]> {
  const names = await readdir(dirname(directory)).catch(() => []); // there is no such place: nothing is beside it
  const name = basename(directory);
  return names
    .filter((other) => other.startsWith(`${name}.tmp-`) && other.length === name.length + 29 && isUnfinished(other))
    .map((other) => join(dirname(directory), other))
    .sort();
}

/** The one way in which a snapshot speaks of another: as its neighbour. */
const siblingPath = /^\.\.\/[^/\0]{1,255}$/;

/** The name in such a path, or undefined when it is none that a snapshot can have. */
export function siblingName(path: string): string | undefined {
  const name = path.slice(3);
  return siblingPath.test(path) && name !== '.' && name !== '..' && !isUnfinished(name) ? name : undefined;
}
