/**
 * Main's end of a machine's pager: asks the user's functions for what its worker wants, and ends both (contract §4.11). Main
 * thread.
 *
 * Main must not touch memory that is not there: the functions that would supply it run on main.
 */
import { setMaxListeners } from 'node:events';
import { TsvmmError } from '../errors.js';
import { outOfDescriptors } from '../host/doorbell.js';
import { errnoName } from '../host/errno.js';
import { closeFd } from '../host/system.js';
import { guestAddressOf, type RamRegion } from '../memory/guest-memory.js';
import { PageBlocks, type RamRange } from '../memory/page-blocks.js';
import { cutOff, emptyFile, openUserFaults, registerMissing } from '../memory/user-faults.js';
import { AwaitedWorker } from './awaited-worker.js';
import { readBlock, type SourceFunction } from './page-source.js';
import {
  isBlockThere,
  late,
  type PagerCommand,
  type PagerData,
  type PagerReport,
  PagerWord,
} from './pager-protocol.js';
import { startWorker } from './worker-start.js';

export interface PagerOptions {
  /** The bundle of pager-worker.ts. */
  readonly url: URL;
  readonly regions: readonly RamRegion[];
  /** What `read` has of it, in one region each. */
  readonly ranges: readonly RamRange[];
  readonly blockSize: number;
  readonly timeoutMs: number;
  readonly read: SourceFunction;
  /** The machine ends, as its memory has gone. Once at most. */
  failed(error: TsvmmError): void;
}

export class Pager {
  readonly #options: PagerOptions;
  readonly #blocks: PageBlocks;
  readonly #words: Int32Array;
  readonly #data: PagerData;
  readonly #worker: AwaitedWorker;
  readonly #post: (command: PagerCommand, transfer?: ArrayBuffer[]) => void;
  readonly #gone: Promise<void>;
  /** Aborts when nobody waits for blocks any more. */
  readonly #over = new AbortController();
  readonly #loads = new Map<number, { resolve(): void; reject(error: TsvmmError): void }>();
  #nextLoad = 0;
  #failure: TsvmmError | undefined;
  #isWhole = false;
  #closing: Promise<void> | undefined;

  /** Of memory in which nothing was touched. Throws `ERR_TSVMM_CONFIG` where the host does not permit it. */
  constructor(options: PagerOptions) {
    const { url, regions, ranges, blockSize, timeoutMs } = options;
    this.#options = options;
    this.#blocks = new PageBlocks(ranges, blockSize);
    setMaxListeners(0, this.#over.signal); // each call is one
    const address = regions[0]!.hostAddress;
    const size = regions.reduce((sum, region) => sum + region.size, 0);
    const state = new SharedArrayBuffer(4 * (PagerWord.blocks + Math.ceil(this.#blocks.count / 32)));
    this.#words = new Int32Array(state);
    const faults = openUserFaults();
    let empty = -1;
    try {
      empty = emptyFile();
      if (empty < 0) throw outOfDescriptors(empty);
      for (const { offset, length } of ranges) registerMissing(faults, address + offset, length);
      this.#data = { faults, empty, address, size, ranges, blockSize, timeoutMs, state };
      const worker = startWorker(url, { name: 'tsvmm-pager', workerData: this.#data });
      this.#worker = new AwaitedWorker(worker);
      this.#post = (command, transfer = []) => worker.postMessage(command, transfer);
      worker.on('message', this.#onReport);
      let cause: Error | undefined;
      worker.once('error', (error) => {
        cause = error;
      });
      this.#gone = new Promise((resolve) => {
        worker.once('exit', () => {
          resolve();
          if (this.#closing === undefined)
            this.#fail(new TsvmmError('ERR_TSVMM_WORKER_DIED', 'the worker that supplies memory has died', { cause }));
        });
      });
    } catch (error) {
      closeFd(faults);
      if (empty >= 0) closeFd(empty);
      throw error;
    }
    pagers.add(this);
    if (pagers.size === 1) process.on('exit', cutAll);
  }

  /** Why memory was taken away; the machine may notice that before it is told. */
  get failure(): TsvmmError | undefined {
    return this.#failure ?? this.#failureOfWorker();
  }

  /** Whether this part of RAM may be touched by main. */
  isThere(offset: number, length: number): boolean {
    for (const block of this.#blocks.within(offset, length)) if (!isBlockThere(this.#words, block)) return false;
    return true;
  }

  /** Resolves when this part of RAM is there. Rejects with why it will not be. */
  async load(range: RamRange): Promise<void> {
    if (this.isThere(range.offset, range.length)) return;
    this.#over.signal.throwIfAborted();
    const id = this.#nextLoad++;
    const loaded = new Promise<void>((resolve, reject) => {
      this.#loads.set(id, { resolve, reject });
    });
    this.#post({ type: 'load', id, range });
    await this.#worker.until(loaded);
  }

  /** Resolves when all of memory is there, and needs nobody any more. */
  async complete(): Promise<void> {
    if (this.#isWhole) return;
    await this.load({ offset: 0, length: this.#data.size });
    this.#isWhole = true;
    await this.close();
  }

  /** Takes memory away, for a machine that is at its end or cannot go on: nobody waits for it any more. */
  cut(): void {
    if (this.#over.signal.aborted || this.#isWhole) return;
    const { faults, empty, address, size } = this.#data;
    cutOff(faults, empty, address, size);
    this.#stop(this.failure ?? ended()); // its worker may have said why, and its message not be here yet
  }

  /** Resolves when its worker has ended; the machine is at its end, unless all of its memory is there. */
  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    this.cut();
    this.#post({ type: 'end' });
    await this.#worker.until(this.#gone);
    pagers.delete(this);
    if (pagers.size === 0) process.off('exit', cutAll);
    closeFd(this.#data.faults);
    closeFd(this.#data.empty);
  }

  #stop(reason: TsvmmError): void {
    this.#over.abort(reason);
    for (const { reject } of this.#loads.values()) reject(reason);
    this.#loads.clear();
  }

  readonly #onReport = (report: PagerReport): void => {
    switch (report.type) {
      case 'wanted':
        void this.#ask(report.block);
        break;
      case 'loaded':
        this.#loads.get(report.id)?.resolve();
        this.#loads.delete(report.id);
        break;
      case 'failed':
        this.#fail(this.#failureOfWorker()!);
        break;
      default:
        report satisfies never;
    }
  };

  async #ask(block: number): Promise<void> {
    if (this.#over.signal.aborted) return;
    const { offset, length } = this.#blocks.extent(block);
    try {
      const bytes = await readBlock(this.#options.read, this.#addressOf(offset), length, this.#over.signal);
      if (!this.#over.signal.aborted) this.#post({ type: 'block', block, bytes }, [bytes.buffer]);
    } catch (cause) {
      this.#fail(cause as TsvmmError);
    }
  }

  #fail(error: TsvmmError): void {
    if (this.#over.signal.aborted) return;
    this.#failure = error;
    this.#options.failed(error); // before anybody meets the memory that has gone
    this.cut();
  }

  #failureOfWorker(): TsvmmError | undefined {
    const word = Atomics.load(this.#words, PagerWord.failure);
    if (word === 0) return undefined;
    const { offset, length } = this.#blocks.extent(Atomics.load(this.#words, PagerWord.failedBlock));
    const what = `${length} bytes of guest memory at 0x${this.#addressOf(offset).toString(16)}`;
    if (word === late)
      return new TsvmmError('ERR_TSVMM_TIMEOUT', `pages: no answer in ${this.#options.timeoutMs} ms for ${what}`, {
        hint: 'look at what the function waits for, or give it longer: pages: { read, timeout }',
      });
    return new TsvmmError('ERR_TSVMM_STATE', `pages: the host has no room for ${what}: ${errnoName(word)}`, {
      hint: 'free memory on the host, or raise the memory limit of this program',
    });
  }

  #addressOf(offset: number): number {
    return guestAddressOf(this.#options.regions, offset);
  }
}

/** Of this environment, and its one hook: at its end Node joins threads that may wait for memory, and asks nobody for it. */
const pagers = new Set<Pager>();
const cutAll = (): void => {
  for (const pager of pagers) pager.cut();
};

const ended = (): TsvmmError => new TsvmmError('ERR_TSVMM_STATE', 'the machine has ended');
