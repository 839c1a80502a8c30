/**
 * Supplies a machine's memory block by block as somebody touches it; main asks the user's functions for the bytes. The pager's
 * worker, which touches no guest memory itself and so never waits for it (trap T50).
 *
 * A block that does not come in time takes all of memory away from under the machine, whatever main is doing: nobody waits for
 * ever, and nobody takes zeroes for what the guest had written.
 */
import { native } from '../host/addon.js';
import { monotonicMs } from '../host/clock.js';
import { Errno } from '../host/errno.js';
import { FdWatch } from '../host/fd-watch.js';
import { PageBlocks, type RamRange } from '../memory/page-blocks.js';
import { cutOff, FaultReader, supply, wake } from '../memory/user-faults.js';
import { isBlockThere, late, type PagerData, type PagerReport, PagerWord } from './pager-protocol.js';

const pageSize = 4096;
/** Reads of faults in one callback. */
const readsAtOnce = 16;
/** Blocks that one `load` asks for at once: enough to keep a connection busy. */
const loadsAtOnce = 16;

interface Load {
  readonly id: number;
  readonly blocks: Generator<number, void>;
  /** Asked for and not there. */
  readonly missing: Set<number>;
}

export class PagerServer {
  readonly #data: PagerData;
  readonly #report: (report: PagerReport) => void;
  readonly #blocks: PageBlocks;
  readonly #words: Int32Array;
  readonly #reader: FaultReader;
  readonly #watch: FdWatch;
  /** Should this thread be terminated. */
  readonly #cut: number;
  /** When each block was asked for, in that order. */
  readonly #asked = new Map<number, number>();
  readonly #loads = new Set<Load>();
  #timer: NodeJS.Timeout | undefined;

  constructor(data: PagerData, report: (report: PagerReport) => void) {
    this.#data = data;
    this.#report = report;
    this.#blocks = new PageBlocks(data.ranges, data.blockSize);
    this.#words = new Int32Array(data.state);
    this.#reader = new FaultReader(data.faults);
    this.#watch = new FdWatch(data.faults, () => this.#onFaults());
    this.#cut = native().cutAtEnd(data.address, data.size, data.empty, data.faults);
  }

  /** What the source has said of a block that was asked for. */
  take(block: number, bytes: Uint8Array): void {
    if (!this.#asked.delete(block) || this.#isOver) return;
    const { faults, address } = this.#data;
    const { offset } = this.#blocks.extent(block);
    const result = supply(faults, address + offset, bytes);
    // Main has taken the memory away, or its process is at its end.
    if (result === -Errno.ENOENT || result === -Errno.ESRCH) this.close();
    else if (result < 0) this.#fail(result, block);
    else {
      Atomics.or(this.#words, PagerWord.blocks + (block >>> 5), 1 << (block & 31));
      for (const load of this.#loads) if (load.missing.delete(block)) this.#goOn(load);
    }
  }

  load(id: number, { offset, length }: RamRange): void {
    const load = { id, blocks: this.#blocks.within(offset, length), missing: new Set<number>() };
    this.#loads.add(load);
    this.#goOn(load);
  }

  /** Nothing is supplied any more. */
  close(): void {
    this.#watch.close();
    clearTimeout(this.#timer);
    native().dropCut(this.#cut);
  }

  get #isOver(): boolean {
    return Atomics.load(this.#words, PagerWord.failure) !== 0;
  }

  #onFaults(): void {
    for (let i = 0; i < readsAtOnce && this.#reader.read(this.#onFault); i++);
  }

  readonly #onFault = (address: number): void => {
    const block = this.#blocks.at(address - this.#data.address);
    // Another thread has touched it a moment earlier, and it has come since.
    if (isBlockThere(this.#words, block)) wake(this.#data.faults, address - (address % pageSize), pageSize);
    else this.#want(block);
  };

  #want(block: number): void {
    if (this.#asked.has(block)) return;
    this.#asked.set(block, monotonicMs());
    this.#report({ type: 'wanted', block });
    if (this.#timer === undefined) this.#arm(this.#data.timeoutMs);
  }

  #arm(ms: number): void {
    this.#timer = setTimeout(() => this.#look(), ms);
  }

  #look(): void {
    this.#timer = undefined;
    for (const [block, since] of this.#asked) {
      const left = since + this.#data.timeoutMs - monotonicMs();
      if (left > 0) this.#arm(Math.ceil(left));
      else this.#fail(late, block);
      return; // all others were asked for later
    }
  }

  #goOn(load: Load): void {
    while (load.missing.size < loadsAtOnce) {
      const { value: block, done } = load.blocks.next();
      if (done === true) break;
      if (isBlockThere(this.#words, block)) continue;
      load.missing.add(block);
      this.#want(block);
    }
    if (load.missing.size > 0) return;
    this.#loads.delete(load);
    this.#report({ type: 'loaded', id: load.id });
  }

  #fail(failure: number, block: number): void {
    Atomics.store(this.#words, PagerWord.failedBlock, block);
    Atomics.store(this.#words, PagerWord.failure, failure);
    this.#report({ type: 'failed' });
    const { faults, empty, address, size } = this.#data;
    cutOff(faults, empty, address, size);
    this.close();
  }
}
