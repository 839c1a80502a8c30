/**
 * What a disk is divided into, as Linux would say it: GPT, MBR, or nothing. Main thread.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { readGpt } from './gpt.js';
import { parseMbr, protectiveEntry, readMbr } from './mbr.js';
import { maxPartitions } from './partition-types.js';

export interface Partition {
  /** As Linux numbers it, from 1; logical partitions of an MBR from 5. */
  readonly index: number;
  /** Bytes from the start of the disk. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  /** The type GUID in lower case, or `mbr:83`. */
  readonly type: string;
  /** The type in words; empty when it is not a known one. */
  readonly typeName: string;
  /** GPT partition name; empty for MBR. */
  readonly name: string;
  /** PARTUUID as Linux prints it: lower-case GUID, or `1234abcd-01`. */
  readonly uuid: string;
  /** MBR active flag, GPT "legacy BIOS bootable" attribute. */
  readonly bootable: boolean;
}

export interface PartitionTable {
  readonly scheme: 'gpt' | 'mbr' | 'none';
  /** Bytes; what the table counts in. A GPT for 4096-byte sectors is visible to a guest only on a disk of that block size. */
  readonly sectorSize: 512 | 4096;
  /** A GPT of which only the backup is valid, which a guest sees only with the kernel parameter `gpt`. */
  readonly backupOnly?: boolean;
  /** Every one lies inside the disk. */
  readonly partitions: readonly Partition[];
  /** What the user should know: a backup header was used, partitions left out, overlaps. */
  readonly notes: readonly string[];
}

const mbrSectorSize = 512;
/** Notes about one table. */
const maxNotes = 64;

/**
 * Reads the partition table. Damage is a note, and what cannot be trusted is left out: a partition that is not inside
 * the disk is never returned. Rejects only when the disk cannot be read.
 *
 * As Linux (block/partitions/efi.c), a GPT counts only behind a protective MBR, else the guest would not see it either.
 */
export async function readPartitions(disk: BlockReader): Promise<PartitionTable> {
  const table = await readTable(disk);
  return {
    ...table,
    partitions: table.partitions.slice(0, maxPartitions),
    notes: table.notes.slice(0, maxNotes),
  };
}

async function readTable(disk: BlockReader): Promise<PartitionTable> {
  const notes: string[] = [];
  if (disk.size < mbrSectorSize) return { scheme: 'none', sectorSize: 512, partitions: [], notes };
  const mbr = parseMbr(await disk.read(0, mbrSectorSize));
  const gptNotes: string[] = [];
  const gpt = await readGpt(disk, gptNotes);
  if (mbr && protectiveEntry(mbr)) {
    if (gpt) return { scheme: 'gpt', ...gpt, notes: [...gptNotes, ...overlaps(gpt.partitions)] };
    const note = 'the protective MBR announces a GPT, but none is valid (sgdisk -v says more)';
    return { scheme: 'none', sectorSize: 512, partitions: [], notes: [note, ...gptNotes] };
  }
  if (gpt) notes.push('there is a GPT without a protective MBR, which Linux ignores');
  const partitions = mbr ? await readMbr(disk, mbr, notes) : [];
  if (partitions.length === 0) return { scheme: 'none', sectorSize: 512, partitions, notes };
  return {
    scheme: 'mbr',
    sectorSize: 512,
    partitions,
    notes: [...notes, ...overlaps(partitions.filter((p) => p.typeName !== 'Extended'))],
  };
}

function overlaps(partitions: readonly Partition[]): string[] {
  const byStart = [...partitions].sort((a, b) => a.start - b.start);
  const found: string[] = [];
  let furthest: Partition | undefined;
  for (const partition of byStart) {
    if (furthest && furthest.start + furthest.size > partition.start)
      found.push(`partitions ${furthest.index} and ${partition.index} overlap`);
    if (!furthest || partition.start + partition.size > furthest.start + furthest.size) furthest = partition;
  }
  return found;
}
