/**
 * What symbolic links say: in the inode, or in up to three runs of blocks, each of which has a header in version 5 (Linux
 * fs/xfs/libxfs/xfs_symlink_remote.c). Main thread.
 */
import { symlinkHeader, verifyHeader } from './block-header.js';
import { extentRuns } from './extents.js';
import { forkFormat, type Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

/** XFS_SYMLINK_MAXLEN */
const maxTarget = 1024;
const field = { magic: 0, offset: 4, bytes: 8, size: 56 } as const;
export const symlinkMagic = 0x58534c4d; // "XSLM"

export async function readLink(volume: XfsVolume, link: Inode): Promise<Buffer> {
  const what = `symbolic link ${link.number}`;
  const { version, blockSize } = volume.superblock;
  if (link.size > maxTarget) throw volume.damaged(`${what} has ${link.size} bytes`);
  if (link.format === forkFormat.local) {
    if (link.size > link.fork.length) throw volume.damaged(`${what} has ${link.size} bytes in the inode`);
    return link.fork.subarray(0, link.size);
  }
  const parts: Buffer[] = [];
  let done = 0;
  for await (const { physical, count } of extentRuns(volume, link, Math.ceil(maxTarget / blockSize) * 2)) {
    const bytes = await volume.read(physical, count);
    const header = version === 5 ? field.size : 0;
    const part = bytes.subarray(header, header + link.size - done);
    if (version === 5) {
      if (bytes.readUInt32BE(field.magic) !== symlinkMagic)
        throw volume.damaged(`${what}: block ${physical} is no part of it`);
      verifyHeader(volume, bytes, symlinkHeader, { block: physical, owner: link.number, what });
      if (bytes.readUInt32BE(field.offset) !== done || bytes.readUInt32BE(field.bytes) !== part.length)
        throw volume.damaged(`${what}: block ${physical} is another part of it`);
    }
    parts.push(part);
    done += part.length;
  }
  if (done !== link.size) throw volume.damaged(`${what}: ${done} of ${link.size} bytes are there`);
  return Buffer.concat(parts);
}
