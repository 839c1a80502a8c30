/**
 * ISO 9660 directories (ECMA-119 §6.8): records in sectors, the sections of one file put together, under the names that
 * Rock Ridge, Joliet or ECMA-119 itself gives. Main thread.
 */
import { damaged, maxDirectoryBytes, maxDirectoryEntries, type ScanBudget } from '../damage.js';
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

const pieceSize = 16 * sectorSize;
/** Sections of one file: it is as many times 4 GiB. */
const maxSections = 64;
/** With the two that every directory has, for itself and its parent. */
const maxRecords = maxDirectoryEntries + 2;

/** What a directory is to the walk: its place and nothing else. */
export const directoryNode = (extent: Extent): IsoNode => ({
  kind: 'directory',
  size: extent.length,
  extents: [extent],
  target: '',
  unreadable: undefined,
});

/** The entries of `directory`, piece by piece; those for itself and its parent, associated files and hidden places left out. */
export async function* records(
  volume: IsoVolume,
  names: Names,
  directory: IsoNode,
  budget: ScanBudget,
): AsyncGenerator<NamedNode[]> {
  let sections: IsoRecord[] = [];
  let total = 0;
  for await (const piece of plainRecords(volume, directory, budget)) {
    total += piece.length;
    if (total > maxRecords) throw damaged(`ISO 9660: a directory of more than ${maxRecords} records`);
    const found: NamedNode[] = [];
    for (const record of piece) {
      if (isDots(record) || record.flags & recordFlag.associated) continue;
      if (sections.length > 0 && !sections[0]!.name.equals(record.name))
        throw damaged('ISO 9660: the sections of a file (multi-extent) are not in one row');
      if (sections.length === maxSections) throw damaged(`ISO 9660: a file of more than ${maxSections} sections`);
      sections.push(record);
      if (record.flags & recordFlag.multiExtent) continue;
      const rock = names.by === 'rock-ridge' ? await rockRidge(volume, names.skip, sections[0]!, budget) : undefined;
      if (!rock?.relocated) found.push(nodeOf(names, sections, rock));
      sections = [];
    }
    yield found;
  }
  if (sections.length > 0) throw damaged('ISO 9660: a file (multi-extent) whose last section is missing');
}

async function* plainRecords(volume: IsoVolume, directory: IsoNode, budget: ScanBudget): AsyncGenerator<IsoRecord[]> {
  const [extent] = directory.extents;
  if (extent === undefined || extent.length > maxDirectoryBytes)
    throw damaged(`ISO 9660: a directory of ${directory.size} bytes`);
  volume.check(extent, 'a directory');
  for (let done = 0; done < extent.length; done += pieceSize) {
    const length = Math.min(pieceSize, extent.length - done);
    budget.spend(length);
    const bytes = await volume.read({ start: extent.start + done, length }, 'a directory');
    const piece: IsoRecord[] = [];
    for (let at = 0; at < length; ) {
      if (bytes[at] === 0) {
        at += volume.blockSize - (at % volume.blockSize); // records do not cross sectors: the rest of this one is empty
        continue;
      }
      piece.push(parseRecord(bytes.subarray(at, Math.min(length, at + 255)), volume.blockSize));
      at += bytes[at]!;
    }
    yield piece;
  }
}

async function rockRidge(
  volume: IsoVolume,
  skip: number,
  { systemUse }: IsoRecord,
  budget: ScanBudget,
): Promise<RockRidge> {
  return rockRidgeOf(await suspEntries(volume, systemUse.subarray(skip), budget));
}

function nodeOf(names: Names, sections: readonly IsoRecord[], rock: RockRidge | undefined): NamedNode {
  const first = sections[0]!;
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
