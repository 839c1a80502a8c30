/** Files whose chunks have digests: read, compared and hashed. Main thread. */
import { sha256 } from '../host/digest.js';
import { readFully } from './file-io.js';
import { inTurn } from './in-turn.js';
import { chunkSize, chunksIn, digestSize } from './manifest.js';
import type { DigestedFile } from './open-snapshot.js';
import type { Progress } from './progress.js';
import { damaged, mismatch } from './snapshot-error.js';
import { unreadable } from './snapshot-folder.js';
import { type ChunkSource, chunkOf, DataFinder, digestOf } from './sparse-file.js';

const noDigest = Buffer.alloc(digestSize);

/** A file as the source of another; what has digests is compared with them on the way. */
export class CheckedFile implements ChunkSource {
  readonly size: number;
  readonly #file: DigestedFile;
  readonly #hashes: Buffer | undefined;
  readonly #finder: DataFinder;

  private constructor(file: DigestedFile, hashes: Buffer | undefined) {
    this.size = file.size;
    this.#file = file;
    this.#hashes = hashes;
    this.#finder = new DataFinder(file.fd);
  }

  /** Rejects with `ERR_TSVMM_SNAPSHOT` when the digests are not the ones that the manifest speaks of. */
  static async open(file: DigestedFile): Promise<CheckedFile> {
    const { hashes, directory, size } = file;
    if (hashes === undefined) return new CheckedFile(file, undefined);
    const digests = Buffer.alloc(chunksIn(size) * digestSize);
    await readFully(hashes.fd, digests, 0).catch((cause) => Promise.reject(unreadable(directory, hashes.name, cause)));
    if (sha256(digests).toString('hex') !== hashes.sha256)
      throw damaged(directory, `${hashes.name} is not what was written`);
    return new CheckedFile(file, digests);
  }

  isHole(index: number): boolean {
    const start = index * chunkSize;
    const end = Math.min(start + chunkSize, this.size);
    return this.#isZero(index) !== false && !this.#finder.hasData(start, end);
  }

  async read(index: number, into: Buffer): Promise<void> {
    const { fd, directory, name } = this.#file;
    const offset = index * chunkSize;
    await readFully(fd, into, offset).catch((cause) => Promise.reject(unreadable(directory, name, cause)));
    if (this.#hashes === undefined) return;
    const digest = (await digestOf(into)) ?? noDigest;
    if (digest.compare(this.#hashes, index * digestSize, (index + 1) * digestSize) !== 0)
      throw mismatch(directory, name, offset);
  }

  /** What the digests say of a chunk; undefined when there are none. */
  #isZero(index: number): boolean | undefined {
    return this.#hashes && noDigest.compare(this.#hashes, index * digestSize, (index + 1) * digestSize) === 0;
  }
}

/** Compares the chunks that `wanted` says, by reading all of them that are no holes and are not to be ones. */
export async function compareFile(
  file: CheckedFile,
  wanted: (index: number) => boolean,
  progress: Progress,
): Promise<void> {
  await inTurn(
    chunksIn(file.size),
    () => Buffer.allocUnsafeSlow(chunkSize),
    async (index, buffer) => {
      if (!wanted(index)) return;
      const chunk = chunkOf(file.size, index, buffer);
      if (!file.isHole(index)) await file.read(index, chunk);
      progress.advance(chunk.length);
    },
    progress.signal,
  );
}

/** The digests of a file that somebody else has written. */
export async function hashFile(fd: number, size: number, progress: Progress): Promise<Buffer> {
  const hashes = Buffer.alloc(chunksIn(size) * digestSize);
  const finder = new DataFinder(fd);
  await inTurn(
    chunksIn(size),
    () => Buffer.allocUnsafeSlow(chunkSize),
    async (index, buffer) => {
      const chunk = chunkOf(size, index, buffer);
      const start = index * chunkSize;
      if (finder.hasData(start, start + chunk.length)) {
        await readFully(fd, chunk, start);
        hashes.set((await digestOf(chunk)) ?? noDigest, index * digestSize);
      }
      progress.advance(chunk.length);
    },
    progress.signal,
  );
  return hashes;
}
