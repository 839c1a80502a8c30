/**
 * FAT12, FAT16 and FAT32 with long names, for reading. Main thread.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import type { ScanBudget } from '../damage.js';
import type { DirectoryEntry, FileStat, FileSystem } from '../file-system.js';
import { type Tree, TreeFileSystem } from '../path-walk.js';
import { bootSectorSize, looksLikeFat, parseBootSector } from './boot-sector.js';
import { Clusters } from './clusters.js';
import { type FatNode, records, volumeLabel } from './directory.js';
import { fold, isNamed } from './names.js';

/** The file system in `reader`, which should be a cache. Undefined when the first sector is no FAT boot sector. */
export async function openFat(reader: BlockReader): Promise<FileSystem | undefined> {
  if (reader.size < bootSectorSize) return undefined;
  const sector = await reader.read(0, bootSectorSize);
  if (!looksLikeFat(sector)) return undefined;
  const layout = parseBootSector(sector, reader.size);
  const clusters = new Clusters(reader, layout);
  const tree = new FatTree(clusters);
  const label = (await volumeLabel(clusters, await tree.root())) ?? layout.label;
  const notes = layout.dirty ? ['the file system was not unmounted cleanly'] : [];
  return new TreeFileSystem({ type: `fat${layout.bits}`, label, uuid: layout.serial, notes }, tree);
}

class FatTree implements Tree<FatNode> {
  readonly #clusters: Clusters;

  constructor(clusters: Clusters) {
    this.#clusters = clusters;
  }

  async root(): Promise<FatNode> {
    return { kind: 'directory', size: 0, cluster: this.#clusters.layout.rootCluster };
  }

  stat(node: FatNode): FileStat {
    return { kind: node.kind, size: node.size };
  }

  async find(directory: FatNode, name: string, budget: ScanBudget): Promise<FatNode | undefined> {
    const wanted = fold(name);
    for await (const batch of records(this.#clusters, directory, budget)) {
      const found = batch.find((record) => isNamed(record.name, wanted) || isNamed(record.shortName, wanted));
      if (found) return found;
    }
    return undefined;
  }

  async list(directory: FatNode, budget: ScanBudget): Promise<DirectoryEntry[]> {
    const entries: DirectoryEntry[] = [];
    for await (const batch of records(this.#clusters, directory, budget))
      for (const { name, kind } of batch) entries.push({ name, kind });
    return entries;
  }

  async target(): Promise<string> {
    throw this.#clusters.damaged('there are no symbolic links'); // never asked: no node has that kind
  }

  async read(file: FatNode, offset: number, into: Uint8Array): Promise<void> {
    if (into.length === 0) return;
    const end = offset + into.length;
    let at = 0;
    for await (const run of this.#clusters.runs(file.cluster, end, 'a file')) {
      const from = Math.max(at, offset);
      const to = Math.min(at + run.length, end);
      if (from < to) await this.#clusters.readInto(run.start + from - at, into.subarray(from - offset, to - offset));
      at += run.length;
    }
    if (at < end) throw this.#clusters.damaged(`a file of ${file.size} bytes whose chain ends after ${at}`);
  }
}
