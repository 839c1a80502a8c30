/**
 * XFS, versions 4 and 5, for reading: opens a file system, replaying a dirty log in memory, and offers it as a tree. Main thread.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { repairCommand } from '../../disk/slice.js';
import { maxDirectoryEntries, type ScanBudget } from '../damage.js';
import type { DirectoryEntry, FileSystem } from '../file-system.js';
import { type Tree, TreeFileSystem } from '../path-walk.js';
import { readContent } from './content.js';
import { records } from './directory.js';
import { type Inode, readInode } from './inode.js';
import { replayLog } from './log-replay.js';
import { hasXfsMagic, parseSuperblock, type Superblock, sectorSizeOf, superblockSize } from './superblock.js';
import { readLink } from './symlink.js';
import { checkCommand, type Overlay, XfsVolume } from './volume.js';

/** The file system in `reader`, which should be a cache; `image` is what the user knows it by. Undefined without its magic. */
export async function openXfs(reader: BlockReader, image: BlockReader): Promise<FileSystem | undefined> {
  if (reader.size < superblockSize) return undefined;
  const head = await reader.read(0, superblockSize);
  if (!hasXfsMagic(head)) return undefined;
  const remedies = { check: checkCommand(image), repair: repairCommand(image, 'xfs_repair') };
  const parse = (bytes: Buffer) => parseSuperblock(bytes, reader.size, remedies);
  const sectorSize = Math.min(reader.size, sectorSizeOf(head));
  const onDisk = new XfsVolume(reader, parse(await reader.read(0, sectorSize)), image);
  const { overlay, notes } = await replayLog(onDisk);
  const volume = overlay.size === 0 ? onDisk : await afterReplay(onDisk, overlay, parse);
  const { label, uuid } = volume.superblock;
  const tree = new XfsTree(volume);
  await tree.root(); // a file system whose root cannot be read is damaged now, not at the first look-up
  return new TreeFileSystem({ type: 'xfs', label, uuid, notes }, tree);
}

/** The superblock is logged like any block, so it is read again as the log has it: the file system may have grown. */
async function afterReplay(
  onDisk: XfsVolume,
  overlay: Overlay,
  parse: (bytes: Buffer) => Superblock,
): Promise<XfsVolume> {
  const { sectorSize, blockSize, agBlocks } = onDisk.superblock;
  const superblock = parse(await onDisk.with(onDisk.superblock, overlay).readBytes(0, sectorSize));
  if (superblock.blockSize !== blockSize || superblock.agBlocks !== agBlocks)
    throw onDisk.damaged('the log holds a superblock with other sizes');
  return onDisk.with(superblock, overlay);
}

class XfsTree implements Tree<Inode> {
  readonly #volume: XfsVolume;

  constructor(volume: XfsVolume) {
    this.#volume = volume;
  }

  async root(): Promise<Inode> {
    const root = await readInode(this.#volume, this.#volume.superblock.rootInode);
    if (root.kind !== 'directory') throw this.#volume.damaged('the root is not a directory');
    return root;
  }

  stat(inode: Inode): { kind: Inode['kind']; size: number } {
    return { kind: inode.kind, size: inode.size };
  }

  async find(directory: Inode, name: string, budget: ScanBudget): Promise<Inode | undefined> {
    const wanted = Buffer.from(name, 'utf8');
    for await (const batch of records(this.#volume, directory, budget, wanted)) {
      const found = batch.find((record) => record.name.equals(wanted));
      if (found) return readInode(this.#volume, found.inode);
    }
    return undefined;
  }

  async list(directory: Inode, budget: ScanBudget): Promise<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = [];
    for await (const batch of records(this.#volume, directory, budget)) {
      for (const { inode, name, kind } of batch) {
        if (entries.length === maxDirectoryEntries)
          throw this.#volume.damaged(`directory ${directory.number} has more than ${maxDirectoryEntries} entries`);
        entries.push({ name: name.toString('utf8'), kind: kind ?? (await readInode(this.#volume, inode)).kind });
      }
    }
    return entries;
  }

  async target(link: Inode): Promise<string> {
    return (await readLink(this.#volume, link)).toString('utf8').replace(/\0.*$/s, '');
  }

  read(file: Inode, offset: number, into: Uint8Array): Promise<void> {
    return readContent(this.#volume, file, offset, into);
  }
}
