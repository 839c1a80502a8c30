/**
 * ISO 9660 (ECMA-119) with Rock Ridge, or else with Joliet, for reading. Main thread.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { TsvmmError } from '../../../errors.js';
import { damaged, notReadable, ScanBudget } from '../damage.js';
import type { DirectoryEntry, FileStat, FileSystem } from '../file-system.js';
import { type Tree, TreeFileSystem } from '../path-walk.js';
import { type Descriptor, type Descriptors, readDescriptors, sectorSize } from './descriptors.js';
import { directoryNode, type IsoNode, type Names, records } from './directory.js';
import { type Extent, isDots, parseRecord } from './record.js';
import { skipOf } from './rock-ridge.js';
import { suspEntries } from './susp.js';
import { IsoVolume } from './volume.js';

/** The file system in `reader`, which should be a cache. Undefined without a primary volume descriptor. */
export async function openIso(reader: BlockReader): Promise<FileSystem | undefined> {
  const descriptors = await readDescriptors(reader);
  if (descriptors === undefined) return undefined;
  const { label, uuid, notes } = descriptors;
  return new TreeFileSystem({ type: 'iso9660', label, uuid, notes }, await openTree(reader, descriptors));
}

/** Whether there is an ISO 9660 volume, which is never written in place; one that is damaged is none. */
export async function isCdImage(reader: BlockReader): Promise<boolean> {
  const descriptors = await readDescriptors(reader).catch((error) => {
    if (error instanceof TsvmmError) return undefined;
    throw error;
  });
  return descriptors !== undefined;
}

/** As Linux chooses: Rock Ridge where the root has it, else Joliet, else the plain names. */
async function openTree(reader: BlockReader, { primary, joliet }: Descriptors): Promise<IsoTree> {
  const volume = new IsoVolume(reader, primary);
  const root = rootExtent(primary);
  const self = await selfRecord(volume, root.start);
  const entries = await suspEntries(volume, self.systemUse, new ScanBudget()).catch((error) => {
    if (joliet === undefined) throw error;
    return []; // bytes of somebody else's, on an image that has another tree
  });
  const skip = skipOf(entries);
  if (skip !== undefined) return new IsoTree(volume, { by: 'rock-ridge', skip }, root);
  if (joliet === undefined) return new IsoTree(volume, { by: 'plain' }, root);
  const wide = new IsoVolume(reader, joliet);
  await selfRecord(wide, rootExtent(joliet).start);
  return new IsoTree(wide, { by: 'joliet' }, rootExtent(joliet));
}

const rootExtent = ({ root, blockSize }: Descriptor): Extent => parseRecord(root, blockSize).extent;

/** The record that a directory begins with, its own. */
async function selfRecord(volume: IsoVolume, start: number) {
  const record = parseRecord(await volume.read({ start, length: sectorSize }, 'a directory'), volume.blockSize);
  if (!isDots(record) || record.extent.start !== start) throw damaged(`ISO 9660: there is no directory at ${start}`);
  return record;
}

class IsoTree implements Tree<IsoNode> {
  readonly #volume: IsoVolume;
  readonly #names: Names;
  readonly #root: IsoNode;

  constructor(volume: IsoVolume, names: Names, root: Extent) {
    this.#volume = volume;
    this.#names = names;
    this.#root = directoryNode(root);
  }

  async root(): Promise<IsoNode> {
    return this.#root;
  }

  stat({ kind, size }: IsoNode): FileStat {
    return { kind, size };
  }

  /** Rock Ridge names are POSIX names; the others are not told apart by case. */
  async find(directory: IsoNode, name: string, budget: ScanBudget): Promise<IsoNode | undefined> {
    const exact = this.#names.by === 'rock-ridge';
    const wanted = exact ? name : name.toLowerCase();
    for await (const piece of records(this.#volume, this.#names, directory, budget)) {
      const found = piece.find(({ name: other }) => (exact ? other : other.toLowerCase()) === wanted);
      if (found === undefined) continue;
      if (found.relocatedTo === undefined) return found.node;
      return directoryNode((await selfRecord(this.#volume, found.relocatedTo * this.#volume.blockSize)).extent);
    }
    return undefined;
  }

  async list(directory: IsoNode, budget: ScanBudget): Promise<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = [];
    for await (const piece of records(this.#volume, this.#names, directory, budget))
      for (const { name, node } of piece) entries.push({ name, kind: node.kind });
    return entries;
  }

  async target(link: IsoNode): Promise<string> {
    return link.target;
  }

  async read(file: IsoNode, offset: number, into: Uint8Array): Promise<void> {
    if (file.unreadable !== undefined) {
      const how = file.unreadable === 'zisofs' ? 'compressed (zisofs)' : 'interleaved';
      const hint = 'Make the image without it, or give the kernel directly, boot: { kernel, initrd, cmdline }.';
      throw notReadable(`ISO 9660: the file is stored ${how}, which tsvmm does not read`, hint);
    }
    const end = offset + into.length;
    let at = 0;
    for (const { start, length } of file.extents) {
      const from = Math.max(at, offset);
      const to = Math.min(at + length, end);
      if (from < to)
        await this.#volume.readInto(start + from - at, into.subarray(from - offset, to - offset), 'a file');
      at += length;
    }
  }
}
