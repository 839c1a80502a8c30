/** Disks of several partitions, each made by its own tool as an image of its own and then put in its place. */
import { closeSync, openSync, readFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { type Content, plant, run } from '../fs/images.js';

export const MiB = 1 << 20;

export interface PartitionImage {
  /** sfdisk's name or GUID of its type. */
  readonly type: string;
  readonly name?: string;
  /** Its content: a file of whole mebibytes. */
  readonly image: string;
  readonly size: number;
}

export const espType = 'C12A7328-F81F-11D2-BA4B-00A0C93EC93B';

let made = 0;

/** A GPT with the partitions one after the other from 1 MiB on. */
export function gptDisk(folder: string, partitions: readonly PartitionImage[]): string {
  const path = join(folder, `disk-${++made}.img`);
  const total = partitions.reduce((sum, { size }) => sum + size, 2 * MiB);
  run('truncate', ['-s', String(total), path]);
  let at = MiB;
  const lines = ['label: gpt'];
  const places: number[] = [];
  for (const { type, name, size } of partitions) {
    places.push(at);
    lines.push(`start=${at / 512}, size=${size / 512}, type=${type}${name === undefined ? '' : `, name="${name}"`}`);
    at += size;
  }
  run('sfdisk', ['-q', path], { input: `${lines.join('\n')}\n` });
  const fd = openSync(path, 'r+');
  for (const [index, { image }] of partitions.entries())
    writeSync(fd, readFileSync(image), 0, undefined, places[index]);
  closeSync(fd);
  return path;
}

/** An EFI System Partition with the given files. */
export function espImage(folder: string, files: Readonly<Record<string, Content>>): PartitionImage {
  const image = join(folder, `esp-${++made}.img`);
  const root = join(folder, `esp-${made}`);
  plant(root, files);
  run('truncate', ['-s', '4M', image]);
  run('mkfs.fat', [image]);
  run('sh', ['-c', 'mcopy -s -Q -i "$1" "$2"/* ::/', 'sh', image, root]);
  return { type: espType, name: 'EFI System Partition', image, size: 4 * MiB };
}
