/**
 * The section table of a PE file: what an EFI program consists of (Microsoft PE Format, "MS-DOS Stub", "COFF File Header",
 * "Section Table"). Main thread.
 *
 * Only headers are read, so that looking into a unified kernel image costs a few KiB. A file that claims more than it has
 * is damaged; one without the magic numbers is simply no PE file.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { damaged } from '../linux/kernel-error.js';

/** Where the file is: a disk image's file system, or the host's. */
export type PeSource = Pick<BlockReader, 'size' | 'read'>;

export interface PeSection {
  /** At most 8 characters. */
  readonly name: string;
  /** Bytes from the start of the file. */
  readonly offset: number;
  /** Bytes. What is padding in the file does not count. */
  readonly size: number;
}

export interface PeFile {
  /** IMAGE_FILE_MACHINE_*. */
  readonly machine: number;
  /** In the order of the table. */
  readonly sections: readonly PeSection[];
}

export const machineX64 = 0x8664;

const dosHeaderSize = 0x40;
const peOffsetAt = 0x3c;
/** The PE header follows a small DOS program. */
const maxPeOffset = 1 << 20;
const peHeader = { machine: 4, sectionCount: 6, optionalSize: 20, optional: 24, magicEnd: 26 } as const;
const magicPe32 = 0x10b;
const magicPe32Plus = 0x20b;
const sectionHeader = { name: 0, virtualSize: 8, rawSize: 16, rawOffset: 20, size: 40 } as const;
const nameLength = 8;
/** Images with a device tree for each of many boards have hundreds. */
const maxSections = 2048;

/** Undefined if `file` is no PE file. Rejects with `ERR_TSVMM_BOOT_KERNEL` if it is one that contradicts itself. */
export async function readPe(file: PeSource): Promise<PeFile | undefined> {
  if (file.size < dosHeaderSize) return undefined;
  const dos = await file.read(0, dosHeaderSize);
  if (dos.toString('latin1', 0, 2) !== 'MZ') return undefined;
  const start = dos.readUInt32LE(peOffsetAt);
  if (start < dosHeaderSize || start > maxPeOffset || start + peHeader.magicEnd > file.size) return undefined;
  const header = await file.read(start, peHeader.magicEnd);
  if (header.toString('latin1', 0, 4) !== 'PE\0\0') return undefined;
  const magic = header.readUInt16LE(peHeader.optional);
  if (magic !== magicPe32 && magic !== magicPe32Plus) return undefined;
  const count = header.readUInt16LE(peHeader.sectionCount);
  if (count > maxSections) throw damaged(`its PE header announces ${count} sections`);
  const table = start + peHeader.optional + header.readUInt16LE(peHeader.optionalSize);
  const length = count * sectionHeader.size;
  if (table + length > file.size) throw damaged('its PE section table is cut off');
  return {
    machine: header.readUInt16LE(peHeader.machine),
    sections: parseSections(await file.read(table, length), file.size),
  };
}

function parseSections(table: Buffer, fileSize: number): PeSection[] {
  const sections: PeSection[] = [];
  for (let at = 0; at < table.length; at += sectionHeader.size) {
    const name = table.toString('latin1', at, at + nameLength).replace(/\0.*$/s, '');
    // The file's part is padded to the file alignment; what lies beyond it is zeros in memory.
    const size = Math.min(
      table.readUInt32LE(at + sectionHeader.virtualSize),
      table.readUInt32LE(at + sectionHeader.rawSize),
    );
    const offset = table.readUInt32LE(at + sectionHeader.rawOffset);
    if (size > 0 && offset + size > fileSize) {
      throw damaged(`its PE section ${JSON.stringify(name)} (${size} bytes at ${offset}) is not inside the file`);
    }
    sections.push({ name, offset: size === 0 ? 0 : offset, size }); // an empty one may claim to be anywhere
  }
  return sections;
}
