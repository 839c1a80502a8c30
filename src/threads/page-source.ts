/** Asks a user's function for guest memory, and checks what it has answered. Main thread. */
import type { RequestContext } from '../disk/user-disk.js';
import { TsvmmError } from '../errors.js';
import { reasonOf } from './user-disk-requests.js';

export type SourceFunction = (address: number, into: Uint8Array, context: RequestContext) => unknown;

/** In a buffer of this call alone. Rejects with `ERR_TSVMM_GUEST` when it cannot be had. */
export async function readBlock(
  read: SourceFunction,
  address: number,
  length: number,
  signal: AbortSignal,
): Promise<Uint8Array<ArrayBuffer>> {
  const into = new Uint8Array(length);
  try {
    await read(address, into, { signal });
  } catch (cause) {
    throw failed(address, length, reasonOf(cause), cause);
  }
  if (into.length === length) return into;
  throw failed(address, length, 'its function has given the buffer away', undefined);
}

const failed = (address: number, length: number, why: string, cause: unknown): TsvmmError =>
  new TsvmmError('ERR_TSVMM_GUEST', `pages: ${length} bytes of guest memory at 0x${address.toString(16)}: ${why}`, {
    hint: 'put right what the function of the program reads from, and restore the machine again',
    cause,
  });
