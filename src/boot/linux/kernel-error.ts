/**
 * The errors of the kernel loaders: a file that is no kernel we can start. Main thread.
 */
import { TsvmmError } from '../../errors.js';

export const kernelError = (message: string, hint?: string, details?: Record<string, unknown>): TsvmmError =>
  new TsvmmError('ERR_TSVMM_BOOT_KERNEL', message, { hint, details });

/** A header that contradicts itself or its file: what a cut-off download or a wrong file looks like. */
export const damaged = (what: string): TsvmmError =>
  kernelError(`the kernel is damaged: ${what}`, 'copy or download the kernel file again and compare its checksum');

export const hex = (n: number): string => `0x${n.toString(16)}`;
export const mib = (bytes: number): string => `${Math.ceil(bytes / (1024 * 1024))} MiB`;
