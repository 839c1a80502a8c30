/**
 * Names an image format by its magic, so that a disk given without a format is refused instead of being handed to the
 * guest as raw bytes. Main thread (opening), I/O worker (`formatOfHead` on writes to the first sector).
 *
 * A guest can write any magic into its own disk; therefore a detected format is only ever a reason to refuse, never a
 * reason to follow what the header says, and an explicit `raw` is not probed at all.
 *
 * Magics: qcow2 (QEMU docs/interop/qcow2.txt), VHD (Virtual Hard Disk Image Format Specification 1.0, "Hard Disk Footer
 * Format"), VHDX ([MS-VHDX] §2.2.1), VMDK (Virtual Disk Format 5.0), VDI, QED, Parallels, and the compressed files that
 * images are published as.
 */
import { TsvmmError } from '../errors.js';
import type { BlockReader } from './block-reader.js';
import { quote, shellWord } from './range.js';

export interface DetectedFormat {
  /** As people call it: "qcow2". */
  readonly name: string;
  /** What makes a raw image of it; INPUT and OUTPUT stand for the paths. */
  readonly remedy: string;
}

interface Magic {
  readonly name: string;
  readonly offset: number;
  readonly bytes: Buffer;
  readonly remedy: string;
}

const convert = (format: string) => `qemu-img convert -f ${format} -O raw INPUT OUTPUT`;
const ascii = (text: string) => Buffer.from(text, 'latin1');
const magic = (name: string, offset: number, bytes: Buffer, remedy: string): Magic => ({ name, offset, bytes, remedy });

const vhd = { name: 'VHD', remedy: convert('vpc') };
/** "cookie" of the VHD footer, whose copy also starts dynamic and differencing disks. */
const vhdCookie = ascii('conectix');
const vhdFooterSize = 512;
/** Virtual PC 5 and older wrote a footer one byte shorter. */
const vhdShortFooterSize = 511;

const magics: readonly Magic[] = [
  magic('qcow2', 0, Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 2]), convert('qcow2')),
  magic('qcow2', 0, Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]), convert('qcow2')),
  magic('qcow', 0, Buffer.from([0x51, 0x46, 0x49, 0xfb]), convert('qcow')),
  magic('VHDX', 0, ascii('vhdxfile'), convert('vhdx')),
  magic(vhd.name, 0, vhdCookie, vhd.remedy),
  magic('VMDK', 0, ascii('KDMV'), convert('vmdk')),
  magic('VMDK', 0, ascii('COWD'), convert('vmdk')),
  magic('VMDK descriptor', 0, ascii('# Disk DescriptorFile'), convert('vmdk')),
  magic('VDI', 0x40, Buffer.from([0x7f, 0x10, 0xda, 0xbe]), convert('vdi')),
  magic('QED', 0, ascii('QED\0'), convert('qed')),
  magic('Parallels', 0, ascii('WithoutFreeSpace'), convert('parallels')),
  magic('Parallels', 0, ascii('WithouFreSpacExt'), convert('parallels')),
  magic('xz-compressed', 0, Buffer.from([0xfd, 0x37, 0x7a, 0x58, 0x5a, 0]), 'xz -dc INPUT > OUTPUT'),
  magic('gzip-compressed', 0, Buffer.from([0x1f, 0x8b, 0x08]), 'gzip -dc INPUT > OUTPUT'),
  magic('zstd-compressed', 0, Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), 'zstd -dc INPUT > OUTPUT'),
  magic(
    'bzip2-compressed',
    0,
    Buffer.from([0x42, 0x5a, 0x68, 0x39, 0x31, 0x41, 0x59, 0x26, 0x53, 0x59]),
    'bzip2 -dc INPUT > OUTPUT',
  ),
  magic('zip archive', 0, Buffer.from([0x50, 0x4b, 0x03, 0x04]), 'unzip INPUT'),
];

/** How much of the start `formatOfHead` looks at. */
export const formatHeadSize = 512;

/** The format that the first bytes of an image announce; undefined if they announce none. */
export function formatOfHead(head: Uint8Array): DetectedFormat | undefined {
  const bytes = Buffer.from(head.buffer, head.byteOffset, head.byteLength);
  return magics.find(
    (m) =>
      bytes.length >= m.offset + m.bytes.length &&
      bytes.compare(m.bytes, 0, m.bytes.length, m.offset, m.offset + m.bytes.length) === 0,
  );
}

/** The format of an image other than raw, by its first bytes and by the VHD footer at its end. */
export async function detectFormat(image: BlockReader): Promise<DetectedFormat | undefined> {
  const fromHead = formatOfHead(await image.read(0, Math.min(image.size, formatHeadSize)));
  if (fromHead) return fromHead;
  const tail = await image.read(Math.max(0, image.size - vhdFooterSize), Math.min(image.size, vhdFooterSize));
  for (const size of [vhdFooterSize, vhdShortFooterSize]) {
    const at = tail.length - size;
    if (at >= 0 && tail.compare(vhdCookie, 0, vhdCookie.length, at, at + vhdCookie.length) === 0) return vhd;
  }
  return undefined;
}

/** The refusal of an image at `path` that was given without a format and is not raw. */
export function formatRefused(path: string, format: DetectedFormat): TsvmmError {
  const output = path.replace(/\.(qcow2?|vhdx?|vmdk|vdi|qed|hdd|xz|gz|zst|bz2|zip|img)$/i, '') + '.raw';
  const command = format.remedy.replace('INPUT', () => shellWord(path)).replace('OUTPUT', () => shellWord(output));
  return new TsvmmError('ERR_TSVMM_DISK_FORMAT', `${quote(path)} is a ${format.name} image, not a raw one`, {
    hint: `Convert it: ${command}. If it really is a raw disk that starts with these bytes, state the format: raw.`,
    details: { path, format: format.name },
  });
}
