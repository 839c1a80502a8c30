/**
 * One descriptor chain as a device sees it: buffers to read, then buffers to write. The thread that serves the queue.
 *
 * A queue has one `Chain`, filled by each `pop`; what a device needs for longer than that call it copies. Every field
 * was read from guest memory once and checked: the addresses are RAM, whole and of one region.
 */
import { freeArrays } from '../../host/free-arrays.js';

export class Chain {
  /** Names the chain when it is given back. */
  head = 0;
  /** Buffers: the first `readableCount` are the driver's output, the rest is for the device to write. */
  count = 0;
  readableCount = 0;
  readableBytes = 0;
  writableBytes = 0;
  /** Guest-physical address of each buffer. */
  readonly guest: Float64Array;
  /** The same in this process, for the kernel. */
  readonly host: Float64Array;
  readonly length: Uint32Array;

  constructor(capacity: number) {
    this.guest = new Float64Array(capacity);
    this.host = new Float64Array(capacity);
    this.length = new Uint32Array(capacity);
  }

  get capacity(): number {
    return this.length.length;
  }

  /** It is not used any more. */
  close(): void {
    freeArrays(this.guest, this.host, this.length);
  }

  clear(head: number): void {
    this.head = head;
    this.count = 0;
    this.readableCount = 0;
    this.readableBytes = 0;
    this.writableBytes = 0;
  }
}
