/**
 * ext2, ext3 and ext4 for reading: opens a file system, replaying a dirty journal in memory, and offers it as a tree.
 * Main thread.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { checkCommand, repairCommand } from '../../disk/slice.js';
import { maxDirectoryEntries, type ScanBudget } from '../damage.js';
import { type DirectoryEntry, type FileSystem, maxPath } from '../file-system.js';
import { type Tree, TreeFileSystem } from '../path-walk.js';
import { readContent } from './content.js';
import { records } from './directory.js';
import { incompat } from './features.js';
import { type Inode, inodeFlag, readInode, refuseUnreadable, rootInode } from './inode.js';
import { replayJournal } from './journal.js';
import { hasExtMagic, parseSuperblock, type Superblock, superblockOffset, superblockSize } from './superblock.js';
import { ExtVolume } from './volume.js';

/** The file system in `reader`, which should be a cache; `image` is what the user knows it by. Undefined without its magic. */
export async function openExt(reader: BlockReader, image: BlockReader): Promise<FileSystem | undefined> {
  if (reader.size < superblockOffset + superblockSize) return undefined;
  const bytes = await reader.read(superblockOffset, superblockSize);
  if (!hasExtMagic(bytes)) return undefined;
  const superblock = parseSuperblock(bytes, reader.size, checkCommand(image));
  const onDisk = new ExtVolume(reader, superblock, image);
  const { volume, notes } =
    superblock.incompat & incompat.recover ? await afterReplay(reader, onDisk) : { volume: onDisk, notes: [] };
  const { type, label, uuid } = volume.superblock;
  const tree = new ExtTree(volume);
  await tree.root(); // a file system whose root cannot be read is damaged now, not at the first look-up
  return new TreeFileSystem({ type, label, uuid, notes: [...notes, ...stateNotes(volume.superblock, image)] }, tree);
}

/** The superblock is journalled like any block, so it is read again through the replayed journal. */
async function afterReplay(reader: BlockReader, onDisk: ExtVolume): Promise<{ volume: ExtVolume; notes: string[] }> {
  const { replayed, note } = await replayJournal(onDisk);
  const { blockSize } = onDisk.superblock;
  const mended = new ExtVolume(reader, onDisk.superblock, onDisk.image, replayed);
  const bytes = await mended.readSuperblock();
  const superblock = parseSuperblock(bytes, reader.size, checkCommand(onDisk.image));
  if (superblock.blockSize !== blockSize)
    throw onDisk.damaged('the journal holds a superblock with another block size');
  return { volume: new ExtVolume(reader, superblock, onDisk.image, replayed), notes: [note] };
}

function stateNotes(superblock: Superblock, image: BlockReader): string[] {
  const notes: string[] = [];
  if (superblock.markedWithErrors) notes.push(`the file system is marked as having errors (${repairCommand(image)})`);
  else if (superblock.type === 'ext2' && !superblock.cleanlyUnmounted)
    notes.push('the file system was not unmounted cleanly and has no journal');
  return notes;
}

class ExtTree implements Tree<Inode> {
  readonly #volume: ExtVolume;

  constructor(volume: ExtVolume) {
    this.#volume = volume;
  }

  async root(): Promise<Inode> {
    const root = await readInode(this.#volume, rootInode);
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
    refuseUnreadable(this.#volume, link);
    if (link.size > maxPath) throw this.#volume.damaged(`inode ${link.number}: a symbolic link of ${link.size} bytes`);
    const isFast =
      !(link.flags & (inodeFlag.inlineData | inodeFlag.extents)) && !link.hasBlocks && link.size < link.block.length;
    const bytes = Buffer.alloc(link.size);
    if (isFast) link.block.copy(bytes);
    else await readContent(this.#volume, link, 0, bytes);
    return bytes.toString('utf8').replace(/\0.*$/s, '');
  }

  read(file: Inode, offset: number, into: Uint8Array): Promise<void> {
    return readContent(this.#volume, file, offset, into);
  }
}
