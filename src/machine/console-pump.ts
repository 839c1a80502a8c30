/**
 * Moves console bytes between a running machine's shared rings and its GuestConsole. Main thread.
 *
 * Output of the serial port and of a virtio console come out as one stream (console-merge.ts): early messages and panics
 * go to the serial port whatever the guest's console is. Input goes to the virtio console once it has a driver, until then
 * to the serial port, where an initramfs has its shell.
 */
import type { SerialHost } from '../devices/serial-host.js';
import { monotonicMs } from '../host/clock.js';
import type { ConsoleHost } from '../virtio/console/console-host.js';
import { type ConsoleLink, type GuestConsole, turnBudget } from './console.js';
import { ConsoleMerge, type PortIndex } from './console-merge.js';

const chunkSize = 64 * 1024;
/** How long what may be the beginning of a kernel message is held back while nothing follows. */
const holdMs = 250;

/**
 * Linux asks a console without ports for its size only when it is told of a change, and forgets one that it is told of
 * while its driver starts. So the size is told again as output comes, not more often than this and as often as that.
 */
const sizeTold = { everyMs: 1000, times: 100 } as const;

/** What a console's bytes come from and go to. */
export interface ConsoleEnds {
  readonly serial: SerialHost;
  readonly virtio: ConsoleHost | undefined;
  /** A driver has brought the virtio console to life, and not reset it since. */
  hasDriver(): boolean;
}

export class ConsolePump implements ConsoleLink {
  readonly #console: GuestConsole;
  readonly #ends: ConsoleEnds;
  readonly #withLock: (task: () => void) => void;
  readonly #resize: (columns: number, rows: number) => void;
  readonly #sources: readonly (SerialHost | ConsoleHost)[];
  /** Of each source: bytes lost for want of room in its ring, as already told to the console. */
  readonly #dropped: number[];
  /** Two ports speak: what the kernel says on both is shown once. */
  readonly #merge: ConsoleMerge | undefined;
  #scheduled: NodeJS.Immediate | undefined;
  #holding: NodeJS.Timeout | undefined;
  /** Of the virtio console, and when it was last told. */
  #size: readonly [columns: number, rows: number] | undefined;
  #sizeToldMs = Number.NEGATIVE_INFINITY;
  #sizeTells = 0;

  /** `withLock` runs a task with the machine lock held, now or soon. */
  constructor(
    console: GuestConsole,
    ends: ConsoleEnds,
    withLock: (task: () => void) => void,
    resize: (columns: number, rows: number) => void,
  ) {
    this.#console = console;
    const { serial, virtio } = ends;
    this.#ends = ends;
    this.#sources = virtio === undefined ? [serial] : [serial, virtio];
    this.#dropped = this.#sources.map(() => 0);
    this.#merge = virtio === undefined ? undefined : new ConsoleMerge();
    this.#withLock = withLock;
    this.#resize = resize;
  }

  input(bytes: Uint8Array): number {
    const { serial, virtio } = this.#ends;
    if (virtio !== undefined && this.#ends.hasDriver()) {
      this.#sizeTells = sizeTold.times; // somebody answers a prompt: the console is open
      return virtio.writeInput(bytes);
    }
    const taken = serial.writeInput(bytes);
    this.#settle();
    return taken;
  }

  resume(): void {
    this.pump();
  }

  resize(columns: number, rows: number): void {
    this.#size = [columns, rows];
    this.#resize(columns, rows);
  }

  /** The virtio console has spoken. */
  #tellSizeAgain(): void {
    if (this.#size === undefined || this.#sizeTells >= sizeTold.times) return;
    const now = monotonicMs();
    if (now - this.#sizeToldMs < sizeTold.everyMs) return;
    this.#sizeToldMs = now;
    this.#sizeTells++;
    this.#resize(...this.#size);
  }

  /** There is output that could be taken. */
  get pending(): boolean {
    return this.#console.accepts && this.#sources.some((source) => source.outputLength > 0);
  }

  /** Takes what there is, within a budget; how many bytes that was. */
  pump(): number {
    const left = this.#take(turnBudget, () => this.#console.accepts);
    this.#settle();
    if (left <= 0) this.#scheduled ??= setImmediate(() => this.#again());
    if (left < turnBudget && this.#merge !== undefined) {
      clearTimeout(this.#holding);
      if (this.#merge.holds) this.#holding = setTimeout(() => this.#release(), holdMs).unref();
    }
    return turnBudget - left;
  }

  /** Everything that is left, at the end: the rings are bounded, and nobody can be made to wait any more. */
  drain(): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    clearTimeout(this.#holding);
    this.#sizeTells = sizeTold.times; // there is no driver to tell any more
    this.#take(Number.POSITIVE_INFINITY, () => true);
    this.#release();
  }

  #release(): void {
    this.#sources.forEach((_, i) => {
      if (this.#merge !== undefined) this.#console.deliver(this.#merge.release(i as PortIndex));
    });
  }

  /** How much of `left` is left. */
  #take(left: number, wanted: () => boolean): number {
    this.#sources.forEach((source, i) => {
      while (left > 0 && wanted()) {
        const length = Math.min(source.outputLength, chunkSize);
        if (length === 0) break;
        const chunk = Buffer.alloc(length);
        const count = source.readOutput(chunk);
        left -= count;
        if (source === this.#ends.virtio) this.#tellSizeAgain();
        const output = chunk.subarray(0, count);
        this.#console.deliver(this.#merge === undefined ? output : this.#merge.take(i as PortIndex, output));
      }
      const dropped = source.droppedBytes;
      this.#console.lost((dropped - this.#dropped[i]!) >>> 0);
      this.#dropped[i] = dropped;
    });
    return left;
  }

  #again(): void {
    this.#scheduled = undefined;
    this.pump();
  }

  #settle(): void {
    const { serial } = this.#ends;
    if (!serial.unsettled) return;
    this.#withLock(() => {
      if (serial.unsettled) serial.settle();
    });
  }
}
