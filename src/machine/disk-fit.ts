/** Whether what is put into a drive is what its guest has been told of. Main thread; pure. */
import { TsvmmError } from '../errors.js';
import type { BlockSize } from '../virtio/blk/blk-format.js';
import { bad } from './checks.js';
import type { Medium } from './medium.js';

/** What a driver is told when the machine powers on. Of it, only the size can change while it runs. */
export interface DriveFacts {
  /** Bytes; 0: empty. */
  readonly size: number;
  readonly readOnly: boolean;
  readonly blockSize: BlockSize;
  readonly ioSize: number;
}

/** What a driver is told of what is in its drive. An empty one is as it was before. */
export function factsOf(medium: Medium | undefined, before: DriveFacts | undefined): DriveFacts {
  const { open, layout, ioSize } = medium ?? {};
  const { readOnly = before?.readOnly ?? false, size = 0 } = open ?? {};
  const blockSize: BlockSize = layout?.blockSize ?? before?.blockSize ?? 512;
  return { size, readOnly, blockSize, ioSize: ioSize ?? before?.ioSize ?? blockSize };
}

/** Throws what does not fit. A guest that was told of a read-only disk does not write to one that is not, either. */
export function checkFits(drive: string, told: DriveFacts, { name, open, layout }: Medium): void {
  if (open.readOnly && !told.readOnly)
    throw bad(
      `${drive} is writable for its guest, and ${name} is read-only`,
      'start the machine with readOnly: true, or give it a disk that may be written',
    );
  const unit = open.direct?.offset ?? layout.blockSize;
  const fits = layout.fixed ? layout.blockSize === told.blockSize : unit <= told.blockSize;
  if (fits) return;
  throw new TsvmmError(
    'ERR_TSVMM_DISK_FORMAT',
    `${drive} has blocks of ${told.blockSize} bytes for its guest, and ${name} has blocks of ${unit}`,
    { hint: 'start the machine with a disk of such blocks', details: { blockSize: unit } },
  );
}
