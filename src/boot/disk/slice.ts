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

  async readInto(offset: number, into: Uint8Array): Promise<void> {
    checkRange(offset, into.length, this.size, 'partition');
    await this.parent.readInto(this.start + offset, into);
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

/** The bytes behind `reader` as a part of an image file; IMAGE where its path is not known. */
function origin(reader: BlockReader): { path: string; offset: number; size: number } {
  let offset = 0;
  let from = reader;
  while (from instanceof Slice) {
    offset += from.start;
    from = from.parent;
  }
  return { path: 'path' in from && typeof from.path === 'string' ? from.path : 'IMAGE', offset, size: reader.size };
}

/** The command that looks at an ext file system without writing: e2fsck(8) takes a partition's offset in the file's name. */
export function checkCommand(reader: BlockReader): string {
  const { path, offset } = origin(reader);
  return `e2fsck -fn ${shellWord(offset === 0 ? path : `${path}?offset=${offset}`)}`;
}

/**
 * The command that runs `command` on what is behind `reader` and lets it write. A partition needs a loop device, and so
 * root: e2fsck 1.47 forgets an offset given with the name once it has replayed the journal.
 */
export function repairCommand(reader: BlockReader, command = 'e2fsck -f'): string {
  const { path, offset, size } = origin(reader);
  if (offset === 0) return `${command} ${shellWord(path)}`;
  const attach = `losetup --find --show --offset ${offset} --sizelimit ${size} ${shellWord(path)}`;
  return `LOOP=$(${attach}); ${command} $LOOP; losetup --detach $LOOP`;
}
