/** Compares all of a snapshot's memory and disks with what was written. Main thread; libuv's threads read and hash. */
import { CheckedFile, compareFile } from './digested-file.js';
import { chunkSize } from './manifest.js';
import type { OpenSnapshot, SnapshotLayer } from './open-snapshot.js';
import { Progress, type WorkOptions } from './progress.js';

/**
 * Rejects with `ERR_TSVMM_SNAPSHOT`, which names the file and where in it, at the first difference. Of a snapshot that is a
 * difference the parts of its parents that it shows are compared as well; disks without digests are not, nor those that lie
 * elsewhere.
 */
export function verifySnapshot(snapshot: OpenSnapshot, options: WorkOptions = {}): Promise<void> {
  return snapshot.use(() => compareAll(snapshot, options));
}

async function compareAll(snapshot: OpenSnapshot, options: WorkOptions): Promise<void> {
  const progress = new Progress(options);
  const work = snapshot.layers.map((layer) => ({ file: layer, wanted: chunksShown(snapshot, layer) }));
  for (const { file, wanted } of work) for (const index of wanted) progress.expect(chunkLength(file.size, index));
  const disks = snapshot.disks.filter((disk) => disk?.hashes !== undefined).map((disk) => disk!);
  for (const { size } of disks) progress.expect(size);
  for (const { file, wanted } of work)
    await compareFile(await CheckedFile.open(file), (index) => wanted.has(index), progress);
  for (const disk of disks) await compareFile(await CheckedFile.open(disk), () => true, progress);
}

const chunkLength = (size: number, index: number): number => Math.min(chunkSize, size - index * chunkSize);

/** The chunks of a layer of which RAM shows something. */
function chunksShown(snapshot: OpenSnapshot, layer: SnapshotLayer): Set<number> {
  const shown = new Set<number>();
  for (const piece of snapshot.pieces)
    if (piece.layer === layer)
      for (let at = Math.floor(piece.offset / chunkSize); at * chunkSize < piece.offset + piece.length; at++)
        shown.add(at);
  return shown;
}
