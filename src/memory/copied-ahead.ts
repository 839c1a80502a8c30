/**
 * What was copied of a machine's memory while the machine goes on, for a freeze that is to come (contract §4.3). Main thread.
 *
 * Pages are protected before they are copied: what is written to one afterwards, the copying included, is known, and counts in
 * the next round or in the freeze.
 */
import { type CopyJob, copyJob } from './copy-job.js';
import { LayerFile } from './layer.js';
import { type Run, union } from './runs.js';
import { WriteWatch } from './write-watch.js';

export class CopiedAhead {
  /** As large as memory. */
  readonly file: LayerFile;
  readonly #address: number;
  readonly #watch: WriteWatch;
  #found: Run[] = [];
  #copied: readonly Run[] = [];

  private constructor(address: number, size: number, watch: WriteWatch) {
    this.#address = address;
    this.#watch = watch;
    this.file = new LayerFile(size);
  }

  /** Undefined where this memory cannot be watched. */
  static of(address: number, size: number): CopiedAhead | undefined {
    const watch = WriteWatch.over(address, size);
    if (watch === undefined) return undefined;
    try {
      return new CopiedAhead(address, size, watch);
    } catch (error) {
      watch.close();
      throw error;
    }
  }

  /** What was written in this part of memory since it was last protected is in the next `job`; from here on it counts anew. */
  protect(offset: number, length: number): void {
    this.#watch.protect(offset, length, (start, end) => this.#found.push({ start, end }));
  }

  /** All of it is copied before anything is protected again. */
  job(): CopyJob {
    const job = copyJob(this.#address, this.file.fd, this.#found, this.#copied.length > 0);
    this.#copied = union([...this.#copied, ...this.#found]);
    this.#found = [];
    return job;
  }

  /** What is in the file, as it is now or as it was. */
  get copied(): readonly Run[] {
    return this.#copied;
  }

  /** The file is somebody else's. */
  close(): void {
    this.#watch.close();
  }

  abandon(): void {
    this.#watch.close();
    this.file.discard();
  }
}
