/**
 * The volume descriptors at sector 16: the primary one, and Joliet's supplementary one (ECMA-119 §8; Joliet
 * specification §2.1). Main thread.
 *
 * Numbers are recorded in both byte orders, one after the other (§7.2.3, §7.3.3). The little-endian one counts, as for Linux
 * (isonum_723() and isonum_733()), which never looks at the other; some tools leave that wrong.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { damaged } from '../damage.js';
import { labelOf } from './label.js';

/** The first 16 logical sectors are the system area, for boot code and partition tables. */
export const sectorSize = 2048;
const firstDescriptor = 16;
/** The set ends with a terminator; whoever leaves it out gets no more than this. */
const maxDescriptors = 64;
export const standardIdentifier = Buffer.from('CD001', 'latin1');
const type = { boot: 0, primary: 1, supplementary: 2, terminator: 255 } as const;
const field = {
  type: 0,
  identifier: 1,
  version: 6,
  /** In a boot record: "boot system identifier". */
  bootSystem: 7,
  volumeId: 40,
  volumeSpaceSize: 80,
  escapeSequences: 88,
  logicalBlockSize: 128,
  root: 156,
  creationDate: 813,
  modificationDate: 830,
} as const;
const volumeIdSize = 32;
const rootRecordSize = 34;
const elToritoIdentifier = Buffer.from('EL TORITO SPECIFICATION', 'latin1');
const catalogPointer = 71;
/** UCS-2 levels 1 to 3. */
const jolietEscapes = ['%/@', '%/C', '%/E'];
/** "YYYYMMDDHHMMSScc" and the offset from Greenwich (§8.4.26.1). */
const dateDigits = 16;

export interface Descriptor {
  /** Bytes. */
  readonly blockSize: number;
  /** In logical blocks. */
  readonly blocks: number;
  /** The directory record of the root. */
  readonly root: Buffer;
}

export interface Descriptors {
  readonly primary: Descriptor;
  readonly joliet: Descriptor | undefined;
  readonly label: string;
  /** As blkid prints it: the date of modification, or else of creation; empty if neither is set. */
  readonly uuid: string;
  /** Sector of El Torito's boot catalog. */
  readonly bootCatalog: number | undefined;
  readonly notes: readonly string[];
}

/** Undefined if there is no ISO 9660 volume. */
export async function readDescriptors(reader: BlockReader): Promise<Descriptors | undefined> {
  let primary: Buffer | undefined;
  let joliet: Buffer | undefined;
  let bootCatalog: number | undefined;
  for (let i = 0; i < maxDescriptors; i++) {
    const at = (firstDescriptor + i) * sectorSize;
    if (at + sectorSize > reader.size) break;
    const bytes = await reader.read(at, sectorSize);
    const isStandard = bytes.compare(standardIdentifier, 0, 5, field.identifier, field.identifier + 5) === 0;
    if (!isStandard || bytes[field.type] === type.terminator) break;
    if (bytes[field.type] === type.primary) primary ??= bytes;
    if (bytes[field.type] === type.supplementary && isJoliet(bytes)) joliet ??= bytes;
    if (bytes[field.type] === type.boot && isElTorito(bytes)) bootCatalog ??= bytes.readUInt32LE(catalogPointer);
  }
  if (primary === undefined) return undefined;
  return {
    primary: parse(primary, reader.size),
    joliet: joliet && parse(joliet, reader.size),
    label: labelOf(volumeId(primary), joliet && volumeId(joliet)),
    uuid: dateOf(primary, field.modificationDate) || dateOf(primary, field.creationDate),
    bootCatalog,
    notes: [primary, ...(joliet ? [joliet] : [])].every(bothOrdersAgree) ? [] : [disagreement],
  };
}

const disagreement =
  "ISO 9660: the volume's big-endian numbers differ from its little-endian ones, which count, as for Linux";

const bothOrdersAgree = (bytes: Buffer): boolean =>
  bytes.readUInt16LE(field.logicalBlockSize) === bytes.readUInt16BE(field.logicalBlockSize + 2) &&
  bytes.readUInt32LE(field.volumeSpaceSize) === bytes.readUInt32BE(field.volumeSpaceSize + 4);

const isJoliet = (bytes: Buffer): boolean =>
  jolietEscapes.includes(bytes.toString('latin1', field.escapeSequences, field.escapeSequences + 3));

const isElTorito = (bytes: Buffer): boolean =>
  bytes.subarray(field.bootSystem, field.bootSystem + elToritoIdentifier.length).equals(elToritoIdentifier);

const volumeId = (bytes: Buffer): Buffer => bytes.subarray(field.volumeId, field.volumeId + volumeIdSize);

function parse(bytes: Buffer, imageSize: number): Descriptor {
  if (bytes[field.version] !== 1)
    throw damaged(`ISO 9660: a volume descriptor of version ${bytes[field.version]}, where 1 is due`);
  const blockSize = bytes.readUInt16LE(field.logicalBlockSize);
  if (blockSize !== 512 && blockSize !== 1024 && blockSize !== 2048)
    throw damaged(`ISO 9660: logical blocks of ${blockSize} bytes`);
  const blocks = bytes.readUInt32LE(field.volumeSpaceSize);
  if (blocks * blockSize > imageSize)
    throw damaged(`ISO 9660: the volume has ${blocks * blockSize} bytes, but the image ends after ${imageSize}`);
  return { blockSize, blocks, root: bytes.subarray(field.root, field.root + rootRecordSize) };
}

function dateOf(bytes: Buffer, at: number): string {
  const digits = bytes.toString('latin1', at, at + dateDigits);
  if (!/^[0-9]{16}$/.test(digits) || (/^0+$/.test(digits) && bytes[at + dateDigits] === 0)) return '';
  return digits.replace(/^(....)(..)(..)(..)(..)(..)(..)$/, '$1-$2-$3-$4-$5-$6-$7');
}
