/**
 * Directories small enough for the inode (Linux fs/xfs/libxfs/xfs_da_format.h, `struct xfs_dir2_sf_hdr`). They have no
 * `.` and `..`: the parent is in the header. Main thread.
 */
import { joinU64, readU64BE } from '../numbers.js';
import { checkedName, type DirectoryRecord, kindOf } from './directory-record.js';
import type { Inode } from './inode.js';
import type { XfsVolume } from './volume.js';

const header = { count: 0, wideCount: 1, parent: 2 } as const;
const entry = { nameLength: 0, name: 3 } as const;

export function shortFormRecords(volume: XfsVolume, directory: Inode): DirectoryRecord[] {
  const { hasFileTypes } = volume.superblock;
  const bad = (what: string) => volume.damaged(`directory ${directory.number}: ${what}`);
  const bytes = directory.fork.subarray(0, directory.size);
  if (bytes.length < directory.size || bytes.length < header.parent) throw bad(`${directory.size} bytes in the inode`);
  // One number that needs eight bytes makes all of them wide, and the header then counts those that do.
  const numberSize = bytes.readUInt8(header.wideCount) > 0 ? 8 : 4;
  const count = bytes.readUInt8(numberSize === 8 ? header.wideCount : header.count);
  const typeSize = hasFileTypes ? 1 : 0;
  const found: DirectoryRecord[] = [];
  let at = header.parent + numberSize;
  for (let i = 0; i < count; i++) {
    const nameEnd = at + entry.name + (at < bytes.length ? bytes.readUInt8(at + entry.nameLength) : 0);
    const end = nameEnd + typeSize + numberSize;
    if (end > bytes.length) throw bad('an entry is cut off');
    const number = nameEnd + typeSize;
    found.push({
      inode: numberSize === 8 ? readU64BE(bytes, number) : joinU64(bytes.readUInt32BE(number), 0),
      name: checkedName(volume, directory, bytes.subarray(at + entry.name, nameEnd)),
      kind: hasFileTypes ? kindOf(bytes.readUInt8(nameEnd)) : undefined,
    });
    at = end;
  }
  return found;
}
