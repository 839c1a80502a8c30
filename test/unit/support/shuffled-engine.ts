/**
 * An I/O engine whose kernel does things in an order that a test chooses: what was begun is performed some time later, by a
 * plain system call, and completes some time after that. Any number of clients; what is chosen is anything that is under way.
 */
import { native } from '../../../src/host/addon.js';
import { BatchClock } from '../../../src/host/batch-clock.js';
import type { IoClient, IoEngine } from '../../../src/host/engine.js';
import { type IoSlots, Operation, SlotTable } from '../../../src/host/engine-slots.js';
import { Errno } from '../../../src/host/errno.js';
import { Sys } from '../../../src/host/system.js';

interface UnderWay {
  readonly slot: number;
  result: number | undefined;
}

export interface Performing {
  readonly operation: Operation;
  readonly fd: number;
  readonly offset: number;
  /** Bytes. */
  readonly length: number;
}

export class ShuffledEngine implements IoEngine {
  readonly kind = 'epoll';
  readonly clock = new BatchClock();
  readonly behind = false;
  /** Which of so many. */
  choose: (count: number) => number = () => 0;
  /** What the kernel says instead, if anything; or how many bytes it moves at most. */
  interfere: (performing: Performing) => { result?: number; most?: number } | undefined = () => undefined;
  readonly #table: SlotTable;
  readonly #underWay: UnderWay[] = [];
  readonly #vector = new Uint32Array(4);

  constructor(capacity = 8192) {
    this.#table = new SlotTable(capacity);
  }

  claim(client: IoClient, count: number): IoSlots | undefined {
    return this.#table.claim(client, count);
  }

  get pending(): boolean {
    return this.#table.starts.size > 0 || this.#table.copies.size > 0 || this.#underWay.length > 0;
  }

  /** One step of one operation. */
  turn(): number {
    const { starts, copies } = this.#table;
    for (const queue of [starts, copies])
      for (let slot = queue.shift(); slot >= 0; slot = queue.shift()) {
        this.#table.markStarted(slot);
        this.#underWay.push({ slot, result: undefined });
      }
    if (this.#underWay.length === 0) return 0;
    const index = this.choose(this.#underWay.length);
    const chosen = this.#underWay[index]!;
    if (chosen.result === undefined) {
      chosen.result = this.#perform(chosen.slot);
      return 0;
    }
    this.#underWay.splice(index, 1);
    this.#table.complete(chosen.slot, chosen.result);
    return 1;
  }

  close(): void {
    this.clock.close();
  }

  #perform(slot: number): number {
    const { operation: operations, fd: fds, address: addresses, length: lengths, offset: offsets } = this.#table;
    const operation = operations[slot] as Operation;
    const [fd, length, offset, address] = [fds[slot]!, lengths[slot]!, offsets[slot]!, addresses[slot]!];
    const isVector = operation === Operation.readVector || operation === Operation.writeVector;
    if (isVector) native().copyOut(address, new Uint8Array(this.#vector.buffer));
    const [low = 0, high = 0, vectorLength = 0] = this.#vector;
    const bytes = isVector ? vectorLength : operation === Operation.allocate ? address : length;
    const { result, most = bytes } = this.interfere({ operation, fd, offset, length: bytes }) ?? {};
    if (result !== undefined) return result;
    const buffer = isVector ? high * 2 ** 32 + low : address;
    switch (operation) {
      case Operation.read:
      case Operation.readVector:
        return native().syscall(Sys.pread64, fd, buffer, Math.min(bytes, most), offset);
      case Operation.write:
      case Operation.writeVector:
      case Operation.briefWrite:
        return native().syscall(Sys.pwrite64, fd, buffer, Math.min(bytes, most), offset);
      case Operation.allocate:
        return native().syscall(Sys.fallocate, fd, length, offset, bytes);
      case Operation.dataSync:
        return 0;
      default:
        return -Errno.EINVAL;
    }
  }
}
