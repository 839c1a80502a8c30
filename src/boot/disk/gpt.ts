/**
 * The GUID partition table: header and entry array with their CRC32s, the backup when the primary is damaged, 512- and
 * 4096-byte sectors (UEFI 2.10 §5.3.2-5.3.3). Main thread.
 */
import { crc32 } from 'node:zlib';
import type { BlockReader } from '../../disk/block-reader.js';
import { readU64 } from '../fs/numbers.js';
import type { Partition } from './partition-table.js';
import { guidText, guidTypeName, maxPartitions } from './partition-types.js';

const signatureText = 'EFI PART';
const signature = Buffer.from(signatureText, 'latin1');
const minHeaderSize = 92;
/** Offsets in the header. */
const header = {
  revision: 8,
  headerSize: 12,
  crc: 16,
  myLba: 24,
  alternateLba: 32,
  entriesLba: 72,
  entryCount: 80,
  entrySize: 84,
  entriesCrc: 88,
} as const;
/** Offsets in an entry. */
const entryField = { type: 0, unique: 16, firstLba: 32, lastLba: 40, attributes: 48, name: 56, end: 128 } as const;
const attributeLegacyBoot = 1 << 2;
const maxEntrySize = 4096;
/** sgdisk makes 128 entries and can be told to make more. */
const maxTableBytes = 1 << 20;
const nullGuid = '00000000-0000-0000-0000-000000000000';
const sectorSizes = [512, 4096] as const;

export interface Gpt {
  readonly sectorSize: 512 | 4096;
  readonly partitions: readonly Partition[];
  /** Only the backup is valid: Linux takes it only with the kernel parameter `gpt` (block/partitions/efi.c, find_valid_gpt()). */
  readonly backupOnly: boolean;
}

/** What one copy of the table says, or why it cannot be used; undefined if there is no header at all. */
type Copy = Gpt | { readonly bad: string } | undefined;

/** The table of `disk`, from its primary header or else from its backup; undefined if neither is valid. */
export async function readGpt(disk: BlockReader, notes: string[]): Promise<Gpt | undefined> {
  let damage: string | undefined;
  for (const sectorSize of sectorSizes) {
    const found: string[] = [];
    const copy = await readCopy(disk, sectorSize, 1, found);
    if (copy && !('bad' in copy)) {
      notes.push(...found);
      return copy;
    }
    if (copy) damage ??= copy.bad;
  }
  for (const sectorSize of sectorSizes) {
    const found: string[] = [];
    const copy = await readCopy(disk, sectorSize, Math.floor(disk.size / sectorSize) - 1, found);
    if (copy && !('bad' in copy)) {
      notes.push(
        `the primary GPT ${damage ?? 'header is missing'}; its backup at the end of the disk is used, as Linux does with the kernel parameter gpt, which is added (sgdisk -e repairs it)`,
        ...found,
      );
      return { ...copy, backupOnly: true };
    }
    if (copy) damage ??= copy.bad;
  }
  if (damage) notes.push(`GPT: ${damage}`);
  return undefined;
}

async function readCopy(disk: BlockReader, sectorSize: 512 | 4096, lba: number, notes: string[]): Promise<Copy> {
  const sectors = Math.floor(disk.size / sectorSize);
  if (lba < 1 || lba >= sectors) return undefined;
  const block = await disk.read(lba * sectorSize, sectorSize);
  if (block.compare(signature, 0, signature.length, 0, signature.length) !== 0) return undefined;
  const headerSize = block.readUInt32LE(header.headerSize);
  if (headerSize < minHeaderSize || headerSize > sectorSize)
    return { bad: `header claims a size of ${headerSize} bytes` };
  const summed = Buffer.from(block.subarray(0, headerSize));
  summed.writeUInt32LE(0, header.crc);
  if (crc32(summed) !== block.readUInt32LE(header.crc)) return { bad: 'header has a wrong checksum' };
  if (readU64(block, header.myLba) !== lba) return { bad: 'header says that it belongs elsewhere' };

  const entrySize = block.readUInt32LE(header.entrySize);
  if (entrySize < entryField.end || entrySize > maxEntrySize || entrySize % 8 !== 0)
    return { bad: `has entries of ${entrySize} bytes` };
  const count = block.readUInt32LE(header.entryCount);
  const start = (readU64(block, header.entriesLba) ?? sectors) * sectorSize;
  if (count * entrySize > maxTableBytes) return { bad: `claims ${count} entries` };
  if (start + count * entrySize > sectors * sectorSize) return { bad: 'entry array is not inside the disk' };
  const table = await disk.read(start, count * entrySize);
  if (crc32(table) !== block.readUInt32LE(header.entriesCrc)) return { bad: 'entry array has a wrong checksum' };

  const partitions: Partition[] = [];
  for (let i = 0; i < Math.min(count, maxPartitions); i++) {
    const partition = parseEntry(table.subarray(i * entrySize, (i + 1) * entrySize), i + 1, sectorSize, sectors, notes);
    if (partition) partitions.push(partition);
  }
  return { sectorSize, partitions, backupOnly: false };
}

function parseEntry(
  entry: Buffer,
  index: number,
  sectorSize: number,
  sectors: number,
  notes: string[],
): Partition | undefined {
  const type = guidText(entry, entryField.type);
  if (type === nullGuid) return undefined;
  const first = readU64(entry, entryField.firstLba);
  const last = readU64(entry, entryField.lastLba);
  if (first === undefined || last === undefined || last < first || last >= sectors) {
    notes.push(
      `partition ${index} (sectors ${first ?? '?'} to ${last ?? '?'}) is not inside the disk of ${sectors} sectors and is left out`,
    );
    return undefined;
  }
  return {
    index,
    start: first * sectorSize,
    size: (last - first + 1) * sectorSize,
    type,
    typeName: guidTypeName(type),
    name: entry.toString('utf16le', entryField.name, entryField.end).replace(/\0.*$/s, ''),
    uuid: guidText(entry, entryField.unique),
    bootable: (entry.readUInt32LE(entryField.attributes) & attributeLegacyBoot) !== 0,
  };
}
