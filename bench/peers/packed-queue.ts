/**
 * A packed virtqueue (virtio 1.2 §2.8), the device's half, as far as it takes to compare its speed with the split one: the
 * same checks, no indirect tables, no event suppression.
 */
import type { GuestMemory } from '../../src/memory/guest-memory.js';
import { Chain } from '../../src/virtio/queue/chain.js';
import { DescriptorFlag } from '../../src/virtio/queue/ring-format.js';

const TWO_32 = 0x1_0000_0000;
const highLimit = 0x20_0000;
const AVAIL = 1 << 7;
const USED = 1 << 15;

export class PackedQueue {
  readonly chain: Chain;
  readonly #memory: GuestMemory;
  readonly #words: Uint32Array;
  readonly #halves: Uint16Array;
  readonly #size: number;
  /** Descriptors of each chain that is taken, by its buffer id; 0: it is not. */
  readonly #taken: Uint16Array;
  #next = 0;
  #wrap = 1;
  #usedAt = 0;
  #usedWrap = 1;

  constructor(memory: GuestMemory, ring: Uint8Array, size: number) {
    this.#memory = memory;
    this.#words = new Uint32Array(ring.buffer, ring.byteOffset, size * 4);
    this.#halves = new Uint16Array(ring.buffer, ring.byteOffset, size * 8);
    this.#size = size;
    this.#taken = new Uint16Array(size);
    this.chain = new Chain(size);
  }

  /** Takes the next chain; false when there is none. */
  pop(): boolean {
    const { chain } = this;
    let at = this.#next;
    let flags = Atomics.load(this.#halves, at * 8 + 7);
    if (((flags & AVAIL) !== 0 ? 1 : 0) !== this.#wrap || ((flags & USED) !== 0 ? 1 : 0) === this.#wrap) return false;
    chain.clear(0);
    let id = 0;
    let count = 0;
    for (;;) {
      if (++count > this.#size) throw new Error('a chain is longer than its ring');
      const words = this.#words;
      const high = words[at * 4 + 1]!;
      const address = high < highLimit ? high * TWO_32 + words[at * 4]! : Number.MAX_VALUE;
      this.#append(address, words[at * 4 + 2]!, flags);
      id = this.#halves[at * 8 + 6]!;
      if (++at === this.#size) at = 0;
      if ((flags & DescriptorFlag.next) === 0) break;
      flags = this.#halves[at * 8 + 7]!;
    }
    if (id >= this.#size || this.#taken[id] !== 0) throw new Error('a buffer id that cannot be');
    this.#taken[id] = count;
    chain.head = id;
    if (at < this.#next) this.#wrap ^= 1;
    this.#next = at;
    return true;
  }

  /** Gives a chain back; the driver sees it at once. */
  push(id: number, written: number): void {
    const at = this.#usedAt;
    const count = this.#taken[id]!;
    this.#taken[id] = 0;
    this.#words[at * 4 + 2] = written;
    this.#halves[at * 8 + 6] = id;
    Atomics.store(this.#halves, at * 8 + 7, this.#usedWrap === 1 ? AVAIL | USED : 0);
    this.#usedAt = at + count;
    if (this.#usedAt < this.#size) return;
    this.#usedAt -= this.#size;
    this.#usedWrap ^= 1;
  }

  #append(address: number, length: number, flags: number): void {
    const { chain } = this;
    const at = chain.count;
    const writable = (flags & DescriptorFlag.write) !== 0;
    if (!writable && chain.readableCount < at) throw new Error('a readable buffer after a writable one');
    const host = this.#memory.hostAddress(address, length);
    if (host === 0) throw new Error('a buffer that is not RAM');
    chain.guest[at] = address;
    chain.host[at] = host;
    chain.length[at] = length;
    chain.count = at + 1;
    if (writable) chain.writableBytes += length;
    else {
      chain.readableCount = at + 1;
      chain.readableBytes += length;
    }
  }
}
