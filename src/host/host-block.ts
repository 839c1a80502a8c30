/**
 * A block of host memory that the kernel reads by its address while operations begin: iovec arrays. Any thread.
 *
 * It is a mapping and not a typed array of V8's, which may move. It goes with its thread; the kernel has its own copy of
 * what it read by then, and what outlives a thread has other places to write to (`Native.eventSink`).
 */
import { TsvmmError } from '../errors.js';
import { native } from './addon.js';
import { errnoName } from './errno.js';

const PROT_READ_WRITE = 3;
const MAP_PRIVATE_ANONYMOUS = 0x22;
const MAP_NORESERVE = 0x4000;

export class HostBlock {
  readonly address: number;
  readonly buffer: ArrayBuffer;

  /** `length` zero bytes, page-aligned; pages cost memory once they are touched. */
  constructor(length: number) {
    const address = native().mapMemory(length, PROT_READ_WRITE, MAP_PRIVATE_ANONYMOUS | MAP_NORESERVE, -1, 0, 0);
    if (address < 0) {
      throw new TsvmmError('ERR_TSVMM_CONFIG', `the host cannot map ${length} bytes for I/O: ${errnoName(address)}`, {
        hint: 'stop other programs or raise vm.max_map_count on the host',
      });
    }
    this.address = address;
    this.buffer = native().wrapMemory(address, length)!; // inside the mapping just made
  }

  /** No operation may still use it. */
  close(): void {
    native().detach(this.buffer);
    native().releaseMemory(this.address);
  }
}
