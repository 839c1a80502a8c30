/**
 * How readers of guest file systems answer: damage, missing paths, and the budget that keeps a hostile image from
 * spending the host's time. Main thread.
 */
import { TsvmmError } from '../../errors.js';

/** A structure that contradicts itself. `what` names the file system and the structure; `remedy` is one command. */
export function damaged(what: string, remedy?: string): TsvmmError {
  return new TsvmmError('ERR_TSVMM_DISK_FORMAT', what, {
    hint:
      remedy === undefined
        ? 'The file system is damaged, or the image is truncated.'
        : `The file system is damaged, or the image is truncated. Check it: ${remedy}`,
  });
}

/** Something valid that this reader does not read. */
export function notReadable(what: string, hint: string): TsvmmError {
  return new TsvmmError('ERR_TSVMM_DISK_FORMAT', what, { hint });
}

/** A directory with more bytes than this is refused: no directory on the way to a kernel comes near. */
export const maxDirectoryBytes = 32 * 1024 * 1024;
/** Entries that one listing may return. */
export const maxDirectoryEntries = 65_536;
/** Directory bytes that one call may look at, over all path components and symbolic links. */
const maxScannedBytes = 128 * 1024 * 1024;

/** What one look-up or listing may still spend. */
export class ScanBudget {
  #bytesLeft = maxScannedBytes;

  spend(bytes: number): void {
    this.#bytesLeft -= bytes;
    if (this.#bytesLeft < 0)
      throw damaged(`looking up one path takes reading more than ${maxScannedBytes} bytes of directories`);
  }
}
