/** Compares all of a snapshot's memory and disks with what was written. Main thread; libuv's threads read and hash. */
import { CheckedFile, compareFile } from './digested-file.js';
import { chunkSize } from './manifest.js';
import type { OpenSnapshot, SnapshotLayer } from './open-snapshot.js';
import { Progress, type WorkOptions } from './progress.js';

/**
 * Rejects with `ERR_TSVMM_SNAPSHOT`, which names the file and where in it, at the first difference. Of its
 * parents the parts are compared that it shows; disks without digests are not, nor those that lie elsewhere.
 */
export function verifySnapshot(snapshot: OpenSnapshot, options: WorkOptions = {}): Promise<void> {
  return snapshot.use(() => compareAll(snapshot, options));
}

async function compareAll(snapshot: OpenSnapshot, options: WorkOptions): Promise<void> {
  const progress = new Progress(options);
  const [own, ...parents] = snapshot.layers;
  const disks = snapshot.disks.filter((disk) => disk?.hashes !== undefined);
  const whole = [own!, ...disks.map((disk) => disk!)];
  const parts = parents.map((layer) => ({ layer, shown: chunksShown(snapshot, layer) }));
  for (const { size } of whole) progress.expect(size);
  for (const { layer, shown } of parts) for (const index of shown) progress.expect(chunkLength(layer.size, index));
  for (const file of whole) await compareFile(await CheckedFile.open(file), () => true, progress);
  for (const { layer, shown } of parts)
    await compareFile(await CheckedFile.open(layer), (index) => shown.has(index), progress);
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
