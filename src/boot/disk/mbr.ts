/**
 * The MBR partition table with its extended partitions, as Linux reads it (block/partitions/msdos.c). Main thread.
 *
 * Layout: UEFI 2.10 §5.2.1 for the table; the chain of extended boot records is convention: each one describes a logical
 * partition relative to itself and the next record relative to the extended partition.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import type { Partition } from './partition-table.js';
import { isExtended, mbrType, mbrTypeName } from './partition-types.js';

const sectorSize = 512;
const diskSignatureOffset = 440;
const tableOffset = 446;
const entrySize = 16;
const entryCount = 4;
const signatureOffset = 510;
const signature = 0xaa55;
const statusActive = 0x80;
const firstLogical = 5;
/** A logical partition and the link to the next record. */
const usualSlots = 2;
/** Linux stops after a hundred records without a partition; here after a hundred records at all. */
const maxExtendedRecords = 100;

export interface MbrEntry {
  readonly active: boolean;
  readonly type: number;
  /** Sectors. */
  readonly start: number;
  readonly count: number;
}

export interface Mbr {
  readonly diskSignature: number;
  readonly entries: readonly MbrEntry[];
}

/** The table in `sector`; undefined if it holds none: no signature, or a status byte that no partition has (boot code). */
export function parseMbr(sector: Buffer): Mbr | undefined {
  if (sector.readUInt16LE(signatureOffset) !== signature) return undefined;
  const entries: MbrEntry[] = [];
  for (let i = 0; i < entryCount; i++) {
    const at = tableOffset + i * entrySize;
    const status = sector.readUInt8(at);
    if (status !== 0 && status !== statusActive) return undefined;
    entries.push({
      active: status === statusActive,
      type: sector.readUInt8(at + 4),
      start: sector.readUInt32LE(at + 8),
      count: sector.readUInt32LE(at + 12),
    });
  }
  return { diskSignature: sector.readUInt32LE(diskSignatureOffset), entries };
}

/** The entry that marks a GPT disk, alone or beside others (a hybrid MBR): type 0xEE from sector 1. */
export function protectiveEntry(mbr: Mbr): MbrEntry | undefined {
  return mbr.entries.find((entry) => entry.type === mbrType.protective && entry.start === 1);
}

const used = (entry: MbrEntry) => entry.type !== 0 && entry.count !== 0;

/** All partitions of `mbr`, primary then logical. What is not inside the disk is left out with a note. */
export async function readMbr(disk: BlockReader, mbr: Mbr, notes: string[]): Promise<Partition[]> {
  const sectors = Math.floor(disk.size / sectorSize);
  const partitions: Partition[] = [];
  const add = (index: number, entry: MbrEntry, start: number): void => {
    if (start + entry.count > sectors) {
      notes.push(
        `partition ${index} (sectors ${start} to ${start + entry.count - 1}) is not inside the disk of ${sectors} sectors and is left out`,
      );
      return;
    }
    partitions.push({
      index,
      start: start * sectorSize,
      size: entry.count * sectorSize,
      type: `mbr:${hex(entry.type, 2)}`,
      typeName: mbrTypeName(entry.type),
      name: '',
      uuid: `${hex(mbr.diskSignature, 8)}-${hex(index, 2)}`,
      bootable: entry.active,
    });
  };
  for (const [i, entry] of mbr.entries.entries()) if (used(entry)) add(i + 1, entry, entry.start);
  let next = firstLogical;
  for (const extended of mbr.entries.filter((entry) => used(entry) && isExtended(entry.type))) {
    for (const { entry, start } of await readExtended(disk, extended, sectors, notes)) add(next++, entry, start);
  }
  return partitions;
}

/** Follows the chain of extended boot records; a record met twice or outside the extended partition ends it. */
async function readExtended(
  disk: BlockReader,
  extended: MbrEntry,
  sectors: number,
  notes: string[],
): Promise<{ entry: MbrEntry; start: number }[]> {
  const logical: { entry: MbrEntry; start: number }[] = [];
  const seen = new Set<number>();
  const end = Math.min(extended.start + extended.count, sectors);
  let size = extended.count;
  for (let at: number | undefined = extended.start; at !== undefined; ) {
    const record: number = at;
    if (seen.has(record) || seen.size === maxExtendedRecords || record >= end) {
      const why =
        record >= end
          ? 'leaves the disk or the extended partition'
          : seen.has(record)
            ? 'is a loop'
            : `has more than ${maxExtendedRecords} records`;
      notes.push(`the chain of extended boot records ${why} (sector ${record}); what follows is left out`);
      break;
    }
    seen.add(record);
    const table = parseMbr(await disk.read(record * sectorSize, sectorSize));
    if (!table) {
      notes.push(`there is no extended boot record at sector ${record}; logical partitions from there on are left out`);
      break;
    }
    for (const [slot, entry] of table.entries.entries()) {
      if (!used(entry) || isExtended(entry.type)) continue;
      const start = record + entry.start;
      // OS/2 used all four slots; elsewhere the last two may be what lay there before, and have no number then.
      const inside = entry.start + entry.count <= size && start + entry.count <= extended.start + extended.count;
      if (slot < usualSlots || inside) logical.push({ entry, start });
    }
    const link = table.entries.find((entry) => used(entry) && isExtended(entry.type));
    at = link && extended.start + link.start;
    size = link?.count ?? 0;
  }
  return logical;
}

const hex = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
