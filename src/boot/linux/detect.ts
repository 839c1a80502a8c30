/**
 * What kind of kernel a file is, by its first bytes; what is none is named, with what to do about it. Main thread.
 */
import { hex, kernelError } from './kernel-error.js';

export type KernelFormat = 'bzImage' | 'ELF64' | 'ELF32';

/** Linux boot protocol §1.2: the setup header of a bzImage. */
const BOOT_FLAG_AT = 0x1fe;
const BOOT_FLAG = 0xaa55;
const HDRS_AT = 0x202;
/** ELF-64 object file format §3. */
const ELF_CLASS_AT = 4;
const ELF_DATA_AT = 5;
const ELF_LITTLE_ENDIAN = 1;
const ELF_MACHINE_AT = 18;
const elfMachines: Record<number, string> = {
  3: 'i386',
  8: 'MIPS',
  20: 'PowerPC',
  21: 'PowerPC64',
  22: 's390',
  40: 'ARM',
  62: 'x86-64',
  183: 'arm64',
  243: 'RISC-V',
  258: 'LoongArch',
};
const MACHINE_386 = 3;
const MACHINE_X86_64 = 62;

interface Foreign {
  readonly at: number;
  readonly magic: string | readonly number[];
  readonly what: string;
  readonly hint: string;
}

const compressed = (what: string, tool: string): { what: string; hint: string } => ({
  what: `a kernel or another file compressed with ${what}`,
  hint: `decompress it first (${tool} FILE > kernel), or pass the distribution's bzImage (vmlinuz)`,
});
const notForX86 = 'pass a kernel built for x86-64';
const asDisk = 'it looks like a disk image: pass it as a disk, and the kernel inside it is found';

/** Most specific first: an arm64 Image may begin with MZ, and so may a UKI and an EFI zboot image. */
const foreign: readonly Foreign[] = [
  { at: 0x38, magic: 'ARM\x64', what: 'an arm64 Image', hint: notForX86 },
  { at: 0x38, magic: 'RSC\x05', what: 'a RISC-V Image', hint: notForX86 },
  {
    at: 4,
    magic: 'zimg',
    what: 'an EFI zboot image, which compresses an arm64, RISC-V or LoongArch kernel',
    hint: notForX86,
  },
  {
    at: 0,
    magic: 'MZ',
    what: 'an EFI program without a Linux setup header or a .linux section',
    hint: 'pass a bzImage (vmlinuz), an ELF kernel, or a unified kernel image',
  },
  { at: 0, magic: [0x1f, 0x8b], ...compressed('gzip', 'gunzip -c') },
  { at: 0, magic: [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0x00], ...compressed('xz', 'xz -dc') },
  { at: 0, magic: [0x28, 0xb5, 0x2f, 0xfd], ...compressed('zstd', 'zstd -dc') },
  { at: 0, magic: 'BZh', ...compressed('bzip2', 'bunzip2 -c') },
  { at: 0, magic: [0x02, 0x21, 0x4c, 0x18], ...compressed('lz4', 'lz4 -dc') },
  { at: 0, magic: [0x04, 0x22, 0x4d, 0x18], ...compressed('lz4', 'lz4 -dc') },
  { at: 0, magic: [0x89, 0x4c, 0x5a, 0x4f], ...compressed('lzop', 'lzop -dc') },
  { at: 0, magic: [0x5d, 0x00, 0x00], ...compressed('lzma', 'lzma -dc') },
  {
    at: 0,
    magic: '070701',
    what: 'a cpio archive, that is, an initramfs',
    hint: 'pass it as the initrd, and a kernel beside it',
  },
  { at: 0, magic: 'hsqs', what: 'a squashfs file system', hint: 'pass the kernel file' },
  { at: 0, magic: 'QFI\xfb', what: 'a qcow2 disk image', hint: asDisk },
  { at: 0, magic: '#!', what: 'a script', hint: 'pass the kernel file' },
  { at: 0x200, magic: 'EFI PART', what: 'a disk with a GPT', hint: asDisk },
  { at: BOOT_FLAG_AT, magic: [0x55, 0xaa], what: 'a boot sector without a Linux setup header', hint: asDisk },
];

/** Throws `ERR_TSVMM_BOOT_KERNEL` for everything that is not one of the formats. */
export function detectKernel(bytes: Uint8Array): KernelFormat {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  if (has(bytes, HDRS_AT, 'HdrS') && view.getUint16(BOOT_FLAG_AT, true) === BOOT_FLAG) return 'bzImage';
  if (has(bytes, 0, '\x7fELF')) return elfFormat(view);

  const other = foreign.find(({ at, magic }) => has(bytes, at, magic));
  if (other !== undefined) throw kernelError(`not a kernel that can be started: it is ${other.what}`, other.hint);
  if (bytes.length === 0) throw kernelError('the kernel file is empty', 'pass a bzImage (vmlinuz) or an ELF vmlinux');
  const first = Buffer.from(bytes.subarray(0, 16))
    .toString('hex')
    .replace(/..(?=.)/g, '$& ');
  throw kernelError(`not a kernel: the file begins with ${first}`, 'pass a bzImage (vmlinuz) or an ELF vmlinux');
}

function elfFormat(view: DataView): KernelFormat {
  if (view.byteLength < ELF_MACHINE_AT + 2) throw kernelError('the kernel is an ELF file cut off in its header');
  const machine = view.getUint16(ELF_MACHINE_AT, view.getUint8(ELF_DATA_AT) === ELF_LITTLE_ENDIAN);
  const fits =
    view.getUint8(ELF_DATA_AT) === ELF_LITTLE_ENDIAN && (machine === MACHINE_386 || machine === MACHINE_X86_64);
  if (!fits) {
    throw kernelError(
      `the kernel is an ELF file for ${elfMachines[machine] ?? `machine ${machine}`}, not for x86`,
      notForX86,
    );
  }
  const elfClass = view.getUint8(ELF_CLASS_AT);
  if (elfClass === 2) return 'ELF64';
  if (elfClass === 1) return 'ELF32';
  throw kernelError(`the kernel is an ELF file of unknown class ${hex(elfClass)}`);
}

function has(bytes: Uint8Array, at: number, magic: string | readonly number[]): boolean {
  if (bytes.length < at + magic.length) return false;
  for (let i = 0; i < magic.length; i++) {
    if (bytes[at + i] !== (typeof magic === 'string' ? magic.charCodeAt(i) : magic[i])) return false;
  }
  return true;
}
