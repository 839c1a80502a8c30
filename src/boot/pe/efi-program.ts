/**
 * Which boot loader an EFI program is, as far as that decides what is booted. Main thread.
 */
import { type PeSource, readPe } from './pe.js';

/** `other`: GRUB, shim, or any EFI program. */
export type EfiProgram = 'systemd-boot' | 'uki' | 'other';

/** systemd-boot writes there who it is; systemd-stub, which is in every unified kernel image, does too. */
const magicSection = '.sdmagic';
const magic = /^#### LoaderInfo: systemd-boot /;
const magicLimit = 256;

/** Undefined if `file` is no PE file. Rejects with `ERR_TSVMM_BOOT_KERNEL` if it is damaged. */
export async function identifyProgram(file: PeSource): Promise<EfiProgram | undefined> {
  const pe = await readPe(file);
  if (pe === undefined) return undefined;
  if (pe.sections.some(({ name }) => name === '.linux')) return 'uki';
  const about = pe.sections.find(({ name }) => name === magicSection);
  if (about === undefined) return 'other';
  const text = (await file.read(about.offset, Math.min(about.size, magicLimit))).toString('latin1');
  return magic.test(text) ? 'systemd-boot' : 'other';
}
