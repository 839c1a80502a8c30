/**
 * Directory records (ECMA-119 §9.1), and where the bytes of a file are: one extent, or several for files of 4 GiB and
 * more (§6.5.1). Main thread.
 */
import { damaged } from '../damage.js';

const field = {
  length: 0,
  extendedAttributes: 1,
  location: 2,
  dataLength: 10,
  flags: 25,
  unitSize: 26,
  gap: 27,
  nameLength: 32,
  name: 33,
} as const;
/** Without a name. */
export const minRecordSize = field.name;
export const recordFlag = { directory: 0x02, associated: 0x04, multiExtent: 0x80 } as const;

/** In bytes of the volume. */
export interface Extent {
  readonly start: number;
  readonly length: number;
}

export interface IsoRecord {
  readonly flags: number;
  readonly extent: Extent;
  /** Sections lie apart, with gaps between them (§6.4.3): not read here. */
  readonly interleaved: boolean;
  /** As recorded; one byte 0 is the directory itself, one byte 1 its parent. */
  readonly name: Buffer;
  /** What follows the name: SUSP entries. */
  readonly systemUse: Buffer;
}

/** The record at the start of `bytes`, which may hold more. Extents are checked when they are read, not here. */
export function parseRecord(bytes: Buffer, blockSize: number): IsoRecord {
  const length = bytes[field.length]!;
  const nameLength = length < minRecordSize ? 0 : bytes[field.nameLength]!;
  if (length < minRecordSize + 1 || length > bytes.length || nameLength === 0 || field.name + nameLength > length)
    throw damaged(`ISO 9660: a directory record of ${length} bytes with a name of ${nameLength}`);
  const location = bytes.readUInt32LE(field.location);
  // The name is padded to an even offset (§9.1.12).
  const nameEnd = field.name + nameLength;
  return {
    flags: bytes[field.flags]!,
    extent: {
      start: (location + bytes[field.extendedAttributes]!) * blockSize,
      length: bytes.readUInt32LE(field.dataLength),
    },
    interleaved: bytes[field.unitSize] !== 0 || bytes[field.gap] !== 0,
    name: bytes.subarray(field.name, nameEnd),
    systemUse: bytes.subarray(Math.min(nameEnd + 1 - (nameLength & 1), length), length),
  };
}

/** The entries for a directory itself and its parent. */
export const isDots = ({ name }: IsoRecord): boolean => name.length === 1 && name[0]! <= 1;
