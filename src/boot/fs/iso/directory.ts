/**
 * ISO 9660 directories (ECMA-119 §6.8): records in sectors, the sections of one file put together, under the names that
 * Rock Ridge, Joliet or ECMA-119 itself gives. Main thread.
 */
import { damaged, maxDirectoryBytes, type ScanBudget } from '../damage.js';
import type { FileStat } from '../file-system.js';
import { sectorSize } from './descriptors.js';
import { utf16be } from './label.js';
import { type Extent, type IsoRecord, isDots, parseRecord, recordFlag } from './record.js';
import { type RockRidge, rockRidgeOf } from './rock-ridge.js';
import { suspEntries } from './susp.js';
import type { IsoVolume } from './volume.js';

/** Where names come from; with Rock Ridge, the bytes of each system use area to skip. */
export type Names = { readonly by: 'plain' | 'joliet' } | { readonly by: 'rock-ridge'; readonly skip: number };

export interface IsoNode {
  readonly kind: FileStat['kind'];
  readonly size: number;
  readonly extents: readonly Extent[];
  readonly target: string;
  /** Why the content cannot be read, if so. */
  readonly unreadable: 'zisofs' | 'interleaved' | undefined;
}

export interface NamedNode {
  readonly name: string;
  readonly node: IsoNode;
  /** Block of the directory that this one stands for. */
  readonly relocatedTo: number | undefined;
}

const pieceSize = 32 * sectorSize;

/** What a directory is to the walk: its place and nothing else. */
export const directoryNode = (extent: Extent): IsoNode => ({
  kind: 'directory',
  size: extent.length,
  extents: [extent],
  target: '',
  unreadable: undefined,
});

/** The entries of `directory` in disk order; those for itself and its parent, associated files and hidden places left out. */
export async function* records(
  volume: IsoVolume,
  names: Names,
  directory: IsoNode,
  budget: ScanBudget,
): AsyncGenerator<NamedNode> {
  let sections: IsoRecord[] = [];
  for await (const record of plainRecords(volume, directory, budget)) {
    if (isDots(record) || record.flags & recordFlag.associated) continue;
    if (sections.length > 0 && !sections[0]!.name.equals(record.name))
      throw damaged('ISO 9660: the sections of a file (multi-extent) are not in one row');
    sections.push(record);
    if (record.flags & recordFlag.multiExtent) continue;
    const found = await nodeOf(volume, names, sections, budget);
    if (found !== undefined) yield found;
    sections = [];
  }
  if (sections.length > 0) throw damaged('ISO 9660: a file (multi-extent) whose last section is missing');
}

async function* plainRecords(volume: IsoVolume, directory: IsoNode, budget: ScanBudget): AsyncGenerator<IsoRecord> {
  const [extent] = directory.extents;
  if (extent === undefined || extent.length > maxDirectoryBytes)
    throw damaged(`ISO 9660: a directory of ${directory.size} bytes`);
  volume.check(extent, 'a directory');
  for (let done = 0; done < extent.length; done += pieceSize) {
    const length = Math.min(pieceSize, extent.length - done);
    budget.spend(length);
    const bytes = await volume.read({ start: extent.start + done, length }, 'a directory');
    for (let at = 0; at < length; ) {
      if (bytes[at] === 0) {
        at += volume.blockSize - (at % volume.blockSize); // records do not cross sectors: the rest of this one is empty
        continue;
      }
      yield parseRecord(bytes.subarray(at, Math.min(length, at + 255)), volume.blockSize);
      at += bytes[at]!;
    }
  }
}

/** Undefined for a moved directory in its hidden place. */
async function nodeOf(
  volume: IsoVolume,
  names: Names,
  sections: readonly IsoRecord[],
  budget: ScanBudget,
): Promise<NamedNode | undefined> {
  const first = sections[0]!;
  const rock =
    names.by === 'rock-ridge'
      ? rockRidgeOf(await suspEntries(volume, first.systemUse.subarray(names.skip), budget))
      : undefined;
  if (rock?.relocated) return undefined;
  const kind = kindOf(first, rock);
  const extents = sections.map(({ extent }) => extent);
  return {
    name: rock?.name || (names.by === 'joliet' ? jolietName(first.name) : plainName(first.name)),
    relocatedTo: rock?.relocatedTo,
    node: {
      kind,
      size: kind === 'file' || kind === 'directory' ? extents.reduce((sum, { length }) => sum + length, 0) : 0,
      extents,
      target: rock?.target ?? '',
      unreadable: rock?.compressed
        ? 'zisofs'
        : sections.some((record) => record.interleaved)
          ? 'interleaved'
          : undefined,
    },
  };
}

function kindOf({ flags }: IsoRecord, rock: RockRidge | undefined): FileStat['kind'] {
  if (rock?.relocatedTo !== undefined || flags & recordFlag.directory) return 'directory';
  // Only the flag makes a directory: what Rock Ridge alone calls one has no records.
  return rock?.kind === undefined || rock.kind === 'directory' ? 'file' : rock.kind;
}

/** In lower case, without version number and empty extension, as Linux shows them (isofs `map=normal`). */
function plainName(name: Buffer): string {
  return checked(
    name
      .toString('latin1')
      .replace(/\.?;1$|\.$/, '')
      .toLowerCase(),
  );
}

function jolietName(name: Buffer): string {
  return checked(utf16be(name).replace(/;1$/, ''));
}

function checked(name: string): string {
  if (name === '' || /[/\0]/.test(name)) throw damaged('ISO 9660: a directory entry whose name is not one');
  return name;
}
