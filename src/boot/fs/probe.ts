/**
 * Finds out which file system a disk or partition holds, and opens it. Main thread.
 */
import type { BlockReader } from '../../disk/block-reader.js';
import { BlockCache, type CachedReader } from './block-cache.js';
import { openExt } from './ext/ext.js';
import { openFat } from './fat/fat.js';
import type { FileSystem } from './file-system.js';
import { openIso } from './iso/iso.js';
import { findContainer, findFileSystem, readHead, type Unsupported } from './signatures.js';
import { openXfs } from './xfs/xfs.js';

export type { Unsupported } from './signatures.js';

/**
 * The file system in `image`, which is read through `cache`; what else it is by name when it is not read here; undefined when nothing is recognised.
 *
 * Rejects with `ERR_TSVMM_DISK_FORMAT` when there is a file system that is damaged or needs repair: whoever looks
 * through several partitions catches that for each of them.
 */
export async function probeFileSystem(
  image: BlockReader,
  cache: CachedReader = new BlockCache(image),
): Promise<FileSystem | Unsupported | undefined> {
  const head = await readHead(image, cache);
  // FAT last: it has no magic, only numbers that make sense.
  return (
    (await findContainer(head)) ??
    (await openExt(cache, image)) ??
    (await openXfs(cache, image)) ??
    (await openIso(cache)) ??
    findFileSystem(head) ??
    (await openFat(cache))
  );
}
