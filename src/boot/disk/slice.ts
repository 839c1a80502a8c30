/**
 * A part of a disk that reads like a disk, and the way back from it to the image file, for hints that name a command.
 * Main thread.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { checkRange, shellWord } from '../../disk/range.js';
import { TsvmmError } from '../../errors.js';

class Slice implements BlockReader {
  readonly parent: BlockReader;
  readonly start: number;
  readonly size: number;

  constructor(parent: BlockReader, start: number, size: number) {
    this.parent = parent;
    this.start = start;
    this.size = size;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    checkRange(offset, length, this.size, 'partition');
    return this.parent.read(this.start + offset, length);
  }
}

/** `size` bytes of `reader` from `start`; throws `ERR_TSVMM_DISK_FORMAT` when they are not all inside it. */
export function slice(reader: BlockReader, start: number, size: number): BlockReader {
  if (
    !(
      Number.isSafeInteger(start) &&
      Number.isSafeInteger(size) &&
      start >= 0 &&
      size >= 0 &&
      start <= reader.size - size
    )
  ) {
    throw new TsvmmError(
      'ERR_TSVMM_DISK_FORMAT',
      `the partition at ${start} with ${size} bytes is not inside the disk of ${reader.size} bytes`,
      {
        hint: 'The partition table is damaged or the image is truncated.',
      },
    );
  }
  return new Slice(reader, start, size);
}

/**
 * How a command of e2fsprogs names the bytes behind `reader` ("disk.img", "disk.img?offset=1048576": e2fsck(8) and
 * debugfs(8) take a partition's offset this way, without root and loop devices). IMAGE where the path is not known.
 */
export function e2fsName(reader: BlockReader): string {
  let offset = 0;
  let from = reader;
  while (from instanceof Slice) {
    offset += from.start;
    from = from.parent;
  }
  const path = 'path' in from && typeof from.path === 'string' ? from.path : 'IMAGE';
  return shellWord(offset === 0 ? path : `${path}?offset=${offset}`);
}
