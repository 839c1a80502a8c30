/**
 * FAT directories: the fixed root of FAT12 and FAT16, and chains of clusters. Main thread.
 *
 * A directory holds at most 65,536 entries (Microsoft FAT 1.03), which bounds what a forged chain can cost.
 */
import type { ScanBudget } from '../damage.js';
import type { FileStat } from '../file-system.js';
import type { Clusters } from './clusters.js';
import { LongName, shortName } from './names.js';

export interface FatNode {
  readonly kind: FileStat['kind'];
  readonly size: number;
  /** 0 for the fixed root directory and for empty files. */
  readonly cluster: number;
}

export interface FatRecord extends FatNode {
  readonly name: string;
  readonly shortName: string;
}

const entrySize = 32;
const maxDirectoryBytes = 65_536 * entrySize;
/** So much is looked at at once. */
const pieceBytes = 32 * 1024;
const field = { attributes: 11, caseFlags: 12, clusterHigh: 20, clusterLow: 26, size: 28 } as const;
const attribute = { volumeLabel: 0x08, directory: 0x10, longNameMask: 0x3f, longName: 0x0f } as const;
const first = { end: 0x00, free: 0xe5, dot: 0x2e } as const;

/** The entries of `directory`, piece by piece; `.` and `..`, free entries and labels left out. */
export async function* records(
  clusters: Clusters,
  directory: FatNode,
  budget: ScanBudget,
): AsyncGenerator<FatRecord[]> {
  const pending = new LongName();
  for await (const bytes of directoryBytes(clusters, directory)) {
    budget.spend(bytes.length);
    const found: FatRecord[] = [];
    for (let at = 0; at < bytes.length; at += entrySize) {
      const entry = bytes.subarray(at, at + entrySize);
      if (entry[0] === first.end) {
        yield found;
        return;
      }
      const record = parse(clusters, entry, pending);
      if (record) found.push(record);
    }
    yield found;
  }
}

/** The label that the root directory carries as an entry; undefined if there is none. */
export async function volumeLabel(clusters: Clusters, root: FatNode): Promise<string | undefined> {
  for await (const bytes of directoryBytes(clusters, root)) {
    for (let at = 0; at < bytes.length; at += entrySize) {
      const entry = bytes.subarray(at, at + entrySize);
      if (entry[0] === first.end) return undefined;
      const attributes = entry[field.attributes]!;
      const isLabel =
        (attributes & (attribute.volumeLabel | attribute.directory)) === attribute.volumeLabel &&
        (attributes & attribute.longNameMask) !== attribute.longName;
      // The eleven bytes are one text here, without the dot of a name.
      if (isLabel && entry[0] !== first.free) return entry.toString('latin1', 0, 11).replace(/[ \0]+$/, '');
    }
  }
  return undefined;
}

async function* directoryBytes(clusters: Clusters, directory: FatNode): AsyncGenerator<Buffer> {
  const { layout } = clusters;
  if (directory.cluster === 0) {
    yield* pieces(clusters, layout.rootStart, layout.rootSize);
    return;
  }
  let total = 0;
  for await (const run of clusters.runs(directory.cluster, maxDirectoryBytes + 1, 'a directory')) {
    total += run.length;
    if (total > maxDirectoryBytes) throw clusters.damaged(`a directory of more than ${maxDirectoryBytes} bytes`);
    yield* pieces(clusters, run.start, run.length);
  }
}

async function* pieces(clusters: Clusters, start: number, length: number): AsyncGenerator<Buffer> {
  for (let done = 0; done < length; done += pieceBytes)
    yield await clusters.readAt(start + done, Math.min(pieceBytes, length - done));
}

function parse(clusters: Clusters, entry: Buffer, pending: LongName): FatRecord | undefined {
  const attributes = entry[field.attributes]!;
  if (entry[0] === first.free) {
    pending.drop();
    return undefined;
  }
  if ((attributes & attribute.longNameMask) === attribute.longName) {
    pending.add(entry);
    return undefined;
  }
  const long = pending.take(entry);
  if (attributes & attribute.volumeLabel || entry[0] === first.dot) return undefined;
  const short = shortName(entry, entry[field.caseFlags]!);
  const name = long ?? short;
  if (name === '' || /[/\0]/.test(name)) throw clusters.damaged('a directory entry whose name is not one');
  const isDirectory = (attributes & attribute.directory) !== 0;
  const high = clusters.layout.bits === 32 ? entry.readUInt16LE(field.clusterHigh) : 0;
  const cluster = high * 0x10000 + entry.readUInt16LE(field.clusterLow);
  if (isDirectory && cluster === 0) throw clusters.damaged('a directory without clusters');
  return {
    name,
    shortName: short,
    kind: isDirectory ? 'directory' : 'file',
    size: isDirectory ? 0 : entry.readUInt32LE(field.size),
    cluster,
  };
}
