/**
 * Files and directories kept in the inode: the first 60 bytes in `i_block`, the rest as the extended attribute
 * `system.data` behind the inode's fields (Linux Documentation/filesystems/ext4/inlinedata.rst, attributes.rst).
 * Main thread.
 */
import type { Inode } from './inode.js';
import type { ExtVolume } from './volume.js';

const attributeMagic = 0xea020000;
const headerSize = 4;
const entry = { nameLength: 0, nameIndex: 1, valueOffset: 2, valueInode: 4, valueSize: 8, size: 16 } as const;
const indexSystem = 7;
/** Behind the prefix that the index stands for: `system.`. */
const nameSuffix = 'data';
const name = Buffer.from(nameSuffix, 'latin1');

export interface InlineData {
  /** `i_block`: for a directory its parent's inode number and the first entries. */
  readonly inBlock: Buffer;
  /** The attribute's value: for a directory more entries. Empty if there is none. */
  readonly inAttribute: Buffer;
  /**
   * Both together, from `offset` of the file on. A file that was made longer by truncate(2) goes on with zeros, which `into`
   * holds already: however long a file claims to be, nothing is made of that length.
   */
  readonly copyTo: (into: Uint8Array, offset: number) => void;
}

export function inlineData(volume: ExtVolume, inode: Inode): InlineData {
  const inAttribute = systemData(volume, inode);
  const copyTo = (into: Uint8Array, offset: number): void =>
    into.set(Buffer.concat([inode.block, inAttribute]).subarray(offset, offset + into.length));
  return { inBlock: inode.block, inAttribute, copyTo };
}

function systemData(volume: ExtVolume, inode: Inode): Buffer {
  const area = inode.extra;
  if (area.length < headerSize || area.readUInt32LE(0) !== attributeMagic) return Buffer.alloc(0);
  const bad = (what: string) => volume.damaged(`inode ${inode.number}: extended attributes: ${what}`);
  const values = area.subarray(headerSize);
  // The list ends with four zero bytes or with the area; every step moves on by at least an entry's size.
  for (let at = 0; at + headerSize <= values.length && values.readUInt32LE(at) !== 0; ) {
    if (at + entry.size > values.length) throw bad('an entry is cut off');
    const nameLength = values.readUInt8(at + entry.nameLength);
    const nameEnd = at + entry.size + nameLength;
    if (nameEnd > values.length) throw bad('a name is cut off');
    if (
      values.readUInt8(at + entry.nameIndex) === indexSystem &&
      values.subarray(at + entry.size, nameEnd).equals(name)
    ) {
      if (values.readUInt32LE(at + entry.valueInode) !== 0)
        throw volume.unreadable(
          `inode ${inode.number}: its inline data is in another inode (ea_inode), which tsvmm does not read`,
        );
      const start = values.readUInt16LE(at + entry.valueOffset);
      const size = values.readUInt32LE(at + entry.valueSize);
      if (start + size > values.length) throw bad('a value is outside the inode');
      return values.subarray(start, start + size);
    }
    at = Math.ceil(nameEnd / 4) * 4;
  }
  return Buffer.alloc(0);
}
