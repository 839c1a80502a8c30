/**
 * The bytes of an ISO 9660 volume, every extent checked against its size. Main thread.
 */
import type { BlockReader } from '../../../disk/block-reader.js';
import { damaged } from '../damage.js';
import type { Descriptor } from './descriptors.js';
import type { Extent } from './record.js';

export class IsoVolume {
  readonly blockSize: number;
  readonly #reader: BlockReader;

  constructor(reader: BlockReader, { blockSize }: Descriptor) {
    this.blockSize = blockSize;
    this.#reader = reader;
  }

  /** The result is not to be written to. */
  async read(extent: Extent, what: string): Promise<Buffer> {
    this.check(extent, what);
    return this.#reader.read(extent.start, extent.length);
  }

  async readInto(start: number, into: Uint8Array, what: string): Promise<void> {
    this.check({ start, length: into.length }, what);
    await this.#reader.readInto(start, into);
  }

  /** The volume's own size is not the measure: images made in sessions and padded ones have extents beyond it. */
  check({ start, length }: Extent, what: string): void {
    if (start <= this.#reader.size - length) return;
    throw damaged(`ISO 9660: ${what} has ${length} bytes at ${start}, but the image ends after ${this.#reader.size}`);
  }
}
