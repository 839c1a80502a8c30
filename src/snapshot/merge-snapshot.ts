/** Makes one whole snapshot of one that is a difference to others. Main thread; libuv's threads read, hash and write. */
import { CheckedFile } from './digested-file.js';
import { type DraftDisk, writeDraft } from './draft.js';
import { newFile } from './file-io.js';
import { chunksIn, digestSize } from './manifest.js';
import { joined, type PlannedPiece } from './memory-plan.js';
import type { DigestedFile, OpenSnapshot } from './open-snapshot.js';
import type { WorkOptions } from './progress.js';
import { SnapshotSource } from './ram-source.js';
import { writeSparse } from './sparse-file.js';

/**
 * Writes `snapshot` to the directory `path`, which must not exist, so that it needs no other; everything that has digests is
 * compared with them on the way. Rejects with `ERR_TSVMM_SNAPSHOT`, or with the reason of `signal`, and nothing is left of it.
 */
export function mergeSnapshot(snapshot: OpenSnapshot, path: string, options: WorkOptions = {}): Promise<void> {
  return snapshot.use(() => merge(snapshot, path, options));
}

async function merge(snapshot: OpenSnapshot, path: string, options: WorkOptions): Promise<void> {
  const { manifest, sections, disks } = snapshot;
  const { createdAt, machine, memory } = manifest;
  await writeDraft(
    path,
    {
      createdAt, // the moment that it shows
      machine,
      sections,
      regions: memory.regions,
      ram: await SnapshotSource.open(snapshot),
      planned: joined(snapshot.pieces.map(whole)),
      parents: new Map(),
      disks: manifest.disks.map((entry, index) => (entry.kind === 'copy' ? copyOf(disks[index]!) : entry)),
    },
    options,
  );
}

const whole = ({ offset, length, layer }: OpenSnapshot['pieces'][number]): PlannedPiece => ({
  offset,
  length,
  from: layer === undefined ? 'zeroes' : 'own',
});

/** Another file with the same content. */
const copyOf = (disk: DigestedFile): DraftDisk => ({
  kind: 'copy',
  async write(path, progress) {
    progress.expect(disk.size);
    const hashes = new Uint8Array(chunksIn(disk.size) * digestSize);
    const source = await CheckedFile.open(disk);
    await newFile(path, (fd) => writeSparse({ fd, hashes }, source, progress));
    return { size: disk.size, hashes };
  },
});
