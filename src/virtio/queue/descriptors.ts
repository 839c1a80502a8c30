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
  /** Where the indirect table is that is read, in the guest and here: addresses are handed on in arrays (`GuestMemory.locate`). */
  readonly #indirectAt = new Float64Array(1);
  readonly #indirectHost = new Float64Array(1);

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
        this.#indirectAt[0] = address;
        return this.#readIndirect(length, chain);
      }
      chain.guest[chain.count] = address;
      const wrong = this.#append(chain, length, flagsAndNext);
      if (wrong !== undefined) return wrong;
      if ((flagsAndNext & DescriptorFlag.next) === 0) return undefined;
      index = flagsAndNext >>> 16;
      if (index >= this.#entries) return Violation.descriptorIndex;
    }
    return Violation.loop;
  }

  /** The table of an indirect descriptor, which ends its chain. Its write flag means nothing (§2.7.5.3.2). */
  #readIndirect(bytes: number, chain: Chain): Violation | undefined {
    if (!this.#indirect) return Violation.indirectRefused;
    const entries = bytes / descriptorSize;
    if (bytes === 0 || bytes % descriptorSize !== 0 || entries > chain.capacity) return Violation.indirectLength;
    const memory = this.#memory;
    const table = this.#indirectAt;
    if (!memory.locate(table, this.#indirectHost, 0, bytes)) return Violation.notRam;
    let index = 0;
    for (let steps = entries; steps > 0; steps--) {
      const at = index * descriptorSize;
      const low = memory.u32At(table, 0, at);
      const high = memory.u32At(table, 0, at + 4);
      const length = memory.u32At(table, 0, at + 8);
      const flagsAndNext = memory.u32At(table, 0, at + 12);
      if ((flagsAndNext & DescriptorFlag.indirect) !== 0) return Violation.indirectNested;
      chain.guest[chain.count] = high < highLimit ? high * TWO_32 + low : Number.MAX_VALUE;
      const wrong = this.#append(chain, length, flagsAndNext);
      if (wrong !== undefined) return wrong;
      if ((flagsAndNext & DescriptorFlag.next) === 0) return undefined;
      index = flagsAndNext >>> 16;
      if (index >= entries) return Violation.descriptorIndex;
    }
    return Violation.loop;
  }

  /** Takes the buffer whose address has been put behind those of the chain. */
  #append(chain: Chain, length: number, flags: number): Violation | undefined {
    const writable = (flags & DescriptorFlag.write) !== 0;
    const at = chain.count;
    if (!writable && chain.readableCount < at) return Violation.order;
    if (length === 0) return undefined;
    if (at === chain.capacity) return Violation.tooLong;
    if (!this.#memory.locate(chain.guest, chain.host, at, length)) return Violation.notRam;
    if (chain.readableBytes + chain.writableBytes + length > TWO_32) return Violation.tooManyBytes;
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
