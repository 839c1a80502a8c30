/**
 * What was copied of a machine's memory while the machine goes on, for a freeze that is to come (contract §4.3). Main thread.
 *
 * Pages are protected before they are copied: what is written to one afterwards, the copying included, is known, and counts in
 * the next round or in the freeze.
 */
import { type CopyJob, copyJob, type Run } from './copy-job.js';
import { LayerFile } from './layer.js';
import { WriteWatch } from './write-watch.js';

export class CopiedAhead {
  /** As large as memory. */
  readonly file: LayerFile;
  readonly #address: number;
  readonly #watch: WriteWatch;
  #isBegun = false;

  private constructor(address: number, size: number, watch: WriteWatch) {
    this.#address = address;
    this.#watch = watch;
    this.file = new LayerFile(size);
  }

  /** Undefined where this kernel cannot watch memory. */
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

  /** What was written since the last time, to be copied before the next time. */
  next(): CopyJob {
    const runs: Run[] = [];
    this.#watch.protect((start, end) => runs.push({ start, end }));
    const job = copyJob(this.#address, this.file.fd, runs, this.#isBegun);
    this.#isBegun = true;
    return job;
  }

  /** What is private to the machine, and the part of that which is not in the file as it is now. */
  look(): { readonly written: Run[]; readonly changed: Run[] } {
    const written: Run[] = [];
    const changed: Run[] = [];
    this.#watch.look((start, end, isChanged) => {
      written.push({ start, end });
      if (isChanged) changed.push({ start, end });
    });
    return { written, changed };
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
