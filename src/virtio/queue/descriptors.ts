/**
 * Reads a descriptor chain: virtio 1.2 §2.7.5. The thread that serves the queue.
 *
 * Every field of a descriptor is fetched once and checked as fetched: the driver may change it meanwhile (trap T9). The
 * walk ends after as many descriptors as the table has, which refuses loops. A buffer of length zero is skipped; it
 * counts as a step (trap T2).
 */
import type { GuestMemory } from '../../memory/guest-memory.js';
import type { Chain } from './chain.js';
import { DescriptorFlag, descriptorSize } from './ring-format.js';
import { Violation } from './violation.js';

const TWO_32 = 0x1_0000_0000;
/** Addresses from 2^53 up are not exact; no RAM is there. */
const highLimit = 0x20_0000;

export class DescriptorReader {
  readonly #memory: GuestMemory;
  readonly #table: Uint32Array;
  readonly #entries: number;
  readonly #indirect: boolean;

  /** `table` is the queue's descriptor table; `indirect` whether VIRTIO_F_INDIRECT_DESC was negotiated. */
  constructor(memory: GuestMemory, table: Uint32Array, entries: number, indirect: boolean) {
    this.#memory = memory;
    this.#table = table;
    this.#entries = entries;
    this.#indirect = indirect;
  }

  /** Fills `chain` with the chain that starts at `head`, which is inside the table. */
  read(head: number, chain: Chain): Violation | undefined {
    chain.clear(head);
    const table = this.#table;
    let index = head;
    for (let steps = this.#entries; steps > 0; steps--) {
      const at = index * 4;
      const low = table[at]!;
      const high = table[at + 1]!;
      const length = table[at + 2]!;
      const flagsAndNext = table[at + 3]!;
      const address = high < highLimit ? high * TWO_32 + low : Number.MAX_VALUE;
      if ((flagsAndNext & DescriptorFlag.indirect) !== 0) {
        if ((flagsAndNext & DescriptorFlag.next) !== 0) return Violation.indirectNext;
        return this.#readIndirect(address, length, chain);
      }
      const wrong = this.#append(chain, address, length, flagsAndNext);
      if (wrong !== undefined) return wrong;
      if ((flagsAndNext & DescriptorFlag.next) === 0) return undefined;
      index = flagsAndNext >>> 16;
      if (index >= this.#entries) return Violation.descriptorIndex;
    }
    return Violation.loop;
  }

  /** The table of an indirect descriptor, which ends its chain. Its write flag means nothing (§2.7.5.3.2). */
  #readIndirect(table: number, bytes: number, chain: Chain): Violation | undefined {
    if (!this.#indirect) return Violation.indirectRefused;
    const entries = bytes / descriptorSize;
    if (bytes === 0 || bytes % descriptorSize !== 0 || entries > chain.capacity) return Violation.indirectLength;
    const memory = this.#memory;
    if (memory.hostAddress(table, bytes) === 0) return Violation.notRam;
    let index = 0;
    for (let steps = entries; steps > 0; steps--) {
      const at = table + index * descriptorSize;
      const low = memory.u32(at);
      const high = memory.u32(at + 4);
      const length = memory.u32(at + 8);
      const flagsAndNext = memory.u32(at + 12);
      if ((flagsAndNext & DescriptorFlag.indirect) !== 0) return Violation.indirectNested;
      const address = high < highLimit ? high * TWO_32 + low : Number.MAX_VALUE;
      const wrong = this.#append(chain, address, length, flagsAndNext);
      if (wrong !== undefined) return wrong;
      if ((flagsAndNext & DescriptorFlag.next) === 0) return undefined;
      index = flagsAndNext >>> 16;
      if (index >= entries) return Violation.descriptorIndex;
    }
    return Violation.loop;
  }

  #append(chain: Chain, address: number, length: number, flags: number): Violation | undefined {
    const writable = (flags & DescriptorFlag.write) !== 0;
    const at = chain.count;
    if (!writable && chain.readableCount < at) return Violation.order;
    if (length === 0) return undefined;
    if (at === chain.capacity) return Violation.tooLong;
    const host = this.#memory.hostAddress(address, length);
    if (host === 0) return Violation.notRam;
    if (chain.readableBytes + chain.writableBytes + length > TWO_32) return Violation.tooManyBytes;
    chain.guest[at] = address;
    chain.host[at] = host;
    chain.length[at] = length;
    chain.count = at + 1;
    if (writable) {
      chain.writableBytes += length;
    } else {
      chain.readableCount = at + 1;
      chain.readableBytes += length;
    }
    return undefined;
  }
}
