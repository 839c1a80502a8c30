/**
 * The kernel command line: bytes with a terminating zero, within what the kernel can take. Main thread.
 *
 * A kernel cuts a longer one silently (boot protocol §1.7), and a missing `root=` at its end shows
 * up only as a guest that does not boot; so the limit is checked here.
 */
import { TsvmmError } from '../../errors.js';
import { lowMemory } from './low-memory.js';

/** COMMAND_LINE_SIZE - 1 of x86 Linux, for kernels that do not state their limit. */
export const DEFAULT_CMDLINE_SIZE = 2047;

export function encodeCommandLine(cmdline: string, kernelLimit: number): Uint8Array {
  const limit = Math.min(kernelLimit, lowMemory.commandLine.size - 1);
  const text = Buffer.from(cmdline, 'utf8');
  if (text.includes(0)) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', 'the kernel command line contains a NUL character', {
      hint: 'remove it: the kernel would stop reading there',
    });
  }
  if (text.length > limit) {
    throw new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `the kernel command line is ${text.length} bytes long; this kernel takes at most ${limit}`,
      { hint: `shorten it by ${text.length - limit} bytes`, details: { length: text.length, limit } },
    );
  }
  return Buffer.concat([text, Buffer.alloc(1)]);
}
