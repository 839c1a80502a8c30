/**
 * Opens a snapshot: every number, name and digest in it is checked before anything is made of it (trap T49). Main thread.
 *
 * Nothing is allocated that the size of a file does not cover. The content of memory and disks is the guest's, whoever wrote
 * it; verify-snapshot.ts compares it with its digests.
 */
import { dirname, join } from 'node:path';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import { sha256, sha256Later } from '../host/digest.js';
import { chunksIn, type DiskEntry, digestSize, type Manifest, memorySize, sum } from './manifest.js';
import { largestManifest, parseManifest, type ReadManifest } from './manifest-text.js';
import { diskHashesName, manifestName, memoryHashesName, memoryName, siblingName, stateName } from './names.js';
import { type DigestedFile, OpenSnapshot, type SnapshotLayer } from './open-snapshot.js';
import { checked, damaged, unusable } from './snapshot-error.js';
import { SnapshotFiles, type SnapshotFolder } from './snapshot-folder.js';

/**
 * Opens the snapshot in a directory. Rejects with `ERR_TSVMM_SNAPSHOT` when there is none, or one that is damaged, of another
 * version, or a difference to one that is not there any more. With `memoryElsewhere` neither memory nor the snapshots that it is
 * a difference to are looked at; they need not be there.
 */
export async function openSnapshot(path: string, { memoryElsewhere = false } = {}): Promise<OpenSnapshot> {
  const files = new SnapshotFiles();
  try {
    const folder = await files.openGiven(path);
    folder.expect(manifestName, stateName, ...(memoryElsewhere ? [] : [memoryName, memoryHashesName]));
    const { manifest, sha256 } = await readManifest(folder);
    const sections = await readState(folder, manifest);
    const layers = memoryElsewhere ? [] : await openLayers(files, folder, manifest);
    const disks: (DigestedFile | undefined)[] = [];
    for (const [index, entry] of manifest.disks.entries()) disks.push(await openDisk(folder, index, entry));
    return new OpenSnapshot({ directory: folder.directory, manifest, sha256, sections, layers, disks, files });
  } catch (error) {
    await files.close();
    throw error;
  }
}

async function readManifest(folder: SnapshotFolder): Promise<ReadManifest> {
  const bytes = await folder.read(manifestName, { most: largestManifest });
  return checked(folder.directory, () => parseManifest(bytes));
}

async function readState(folder: SnapshotFolder, { state }: Manifest): Promise<Map<string, Uint8Array>> {
  const bytes = await folder.read(stateName, { size: sum(state.map(({ length }) => length)) });
  const sections = new Map<string, Uint8Array>();
  let offset = 0;
  for (const { name, length, sha256: digest } of state) {
    // A copy each, of memory of its own and no Buffer, whose slices share it: any kind of view can begin there.
    const section = new Uint8Array(bytes.subarray(offset, offset + length));
    const found = length > quick ? await sha256Later(section) : sha256(section);
    if (found.toString('hex') !== digest)
      throw damaged(folder.directory, `${stateName}: the section ${name} is not what was written`);
    sections.set(name, section);
    offset += length;
  }
  return sections;
}

/** Hashed at once: less than a millisecond, which another thread would not save. */
const quick = 512 * 1024;

async function openLayers(files: SnapshotFiles, folder: SnapshotFolder, manifest: Manifest): Promise<SnapshotLayer[]> {
  const layers = [await openLayer(folder, manifest)];
  for (const parent of manifest.parents) layers.push(await openParent(files, folder.directory, parent, manifest));
  return layers;
}

async function openLayer(folder: SnapshotFolder, manifest: Manifest): Promise<SnapshotLayer> {
  const size = memorySize(manifest);
  const { fd } = await folder.open(memoryName, size);
  const hashes = await folder.open(memoryHashesName, chunksIn(size) * digestSize);
  const { sha256 } = manifest.memory;
  return {
    fd,
    size,
    directory: folder.directory,
    name: memoryName,
    hashes: { fd: hashes.fd, name: memoryHashesName, sha256 },
  };
}

async function openParent(
  files: SnapshotFiles,
  child: string,
  { directory, id, sha256 }: Manifest['parents'][number],
  manifest: Manifest,
): Promise<SnapshotLayer> {
  const path = join(dirname(child), siblingName(directory)!);
  try {
    const folder = await files.openDirectory(path);
    const parent = await readManifest(folder);
    if (parent.manifest.id !== id) throw unusable(path, 'it is another snapshot', 'put the right one back there');
    if (parent.sha256 !== sha256) throw damaged(path, 'it is not as it was then');
    if (memorySize(parent.manifest) !== memorySize(manifest)) throw damaged(path, 'its memory is of another size');
    return await openLayer(folder, parent.manifest);
  } catch (cause) {
    if (!(cause instanceof TsvmmError)) throw cause;
    throw unusable(
      child,
      `it is only the difference to ${quote(directory)}: ${cause.message}`,
      cause.hint ?? '',
      cause,
    );
  }
}

async function openDisk(folder: SnapshotFolder, index: number, entry: DiskEntry): Promise<DigestedFile | undefined> {
  if (entry.kind !== 'copy') return undefined;
  const { file, size, sha256 } = entry;
  const { fd } = await folder.open(file, size);
  const { directory } = folder;
  if (sha256 === undefined) return { fd, size, directory, name: file };
  const name = diskHashesName(index);
  const hashes = await folder.open(name, chunksIn(size) * digestSize);
  return { fd, size, directory, name: file, hashes: { fd: hashes.fd, name, sha256 } };
}
