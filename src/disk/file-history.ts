/**
 * The instants of one file and their stores: who still reads which of them (history.ts). Main thread.
 *
 * A store is closed when nobody reads its instant or one before it. When nobody reads any, the history rests: whoever writes
 * the file keeps nothing any more, and the rest goes when he has been told.
 */
import { giveShared, takeShared } from '../memory/shared-pool.js';
import { closeFd } from './file-calls.js';
import { History, historyBytes, type OpenHistory } from './history.js';
import type { TemporaryFile } from './temporary-file.js';

/** As many as a read looks through, and no more than these bytes of bits; a file that needs more gets another history. */
const mostSlots = 16;
const mostBytes = 64 * 2 ** 20;

export class FileHistory {
  readonly open: OpenHistory;
  readonly #history: History;
  /** Instants in use, the oldest first. */
  readonly #inUse = new Set<number>();
  /** Of each instant, the oldest first. */
  readonly #stores = new Map<number, number>();
  /** To be closed. */
  readonly #unused: number[] = [];
  /** Nobody writes the file any more. */
  #isOver = false;

  constructor(size: number) {
    const slots = Math.max(1, Math.min(mostSlots, Math.floor(mostBytes / historyBytes(size, 1))));
    this.open = { memory: takeShared(historyBytes(size, slots)), slots, size };
    this.#history = new History(this.open);
  }

  /** Nobody reads it. */
  get isIdle(): boolean {
    return this.#inUse.size === 0;
  }

  get hasRoom(): boolean {
    const [oldest = this.#history.newest + 1] = this.#inUse;
    return this.#history.newest + 1 - oldest < this.open.slots;
  }

  /** A new instant: now, while nobody writes. Takes over the store. */
  begin(store: TemporaryFile): number {
    if (this.isIdle) this.#drop(Number.POSITIVE_INFINITY);
    const instant = this.#history.begin(store.fd, store.writesBriefly);
    this.#stores.set(instant, store.fd);
    this.#inUse.add(instant);
    return instant;
  }

  /** Whether nothing was written since this instant, which is in use: it is now, still. */
  isNow(instant: number): boolean {
    return instant === this.#history.newest && this.#inUse.has(instant) && this.#history.isUntouched;
  }

  /** Nobody reads this instant any more. */
  async release(instant: number): Promise<void> {
    this.#inUse.delete(instant);
    // Into the store of the newest something may be on its way.
    const [oldest = this.#history.newest] = this.#inUse;
    this.#drop(oldest);
    if (this.isIdle) {
      this.#history.rest();
      if (this.#isOver) this.#giveBack();
    }
    await this.#closeUnused();
  }

  /** Nobody writes the file any more: it closes as soon as nobody reads it. */
  async end(): Promise<void> {
    if (this.#isOver) return;
    this.#isOver = true;
    if (this.isIdle) this.#giveBack();
    await this.#closeUnused();
  }

  /** Nobody needs the stores of instants before that one. */
  #drop(before: number): void {
    for (const [instant, fd] of this.#stores) {
      if (instant >= before) continue;
      this.#stores.delete(instant);
      this.#unused.push(fd);
      this.#history.clear(instant);
    }
  }

  #giveBack(): void {
    this.#drop(Number.POSITIVE_INFINITY);
    giveShared(this.open.memory);
  }

  async #closeUnused(): Promise<void> {
    await Promise.all(this.#unused.splice(0).map((fd) => closeFd(fd)));
  }
}
