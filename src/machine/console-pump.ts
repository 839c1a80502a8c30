/**
 * Moves console bytes between a running machine's shared rings and its GuestConsole. Main thread.
 *
 * Output of the serial port and of a virtio console come out as one stream: early messages and panics go to the serial
 * port whatever the guest's console is. Input goes to the device that was chosen.
 */
import type { SerialHost } from '../devices/serial-host.js';
import type { ConsoleHost } from '../virtio/console/console-host.js';
import type { PlatformHost } from '../virtio/transport/platform-host.js';
import type { ConsoleLink, GuestConsole } from './console.js';

/** What one wake of main moves at most; the rest comes at the next turn of the event loop. */
const budget = 256 * 1024;
const chunkSize = 64 * 1024;

export class ConsolePump implements ConsoleLink {
  readonly #console: GuestConsole;
  readonly #platform: PlatformHost;
  readonly #virtio: ConsoleHost | undefined;
  readonly #withLock: (task: () => void) => void;
  readonly #resize: (columns: number, rows: number) => void;
  readonly #sources: readonly (SerialHost | ConsoleHost)[];
  /** Of each source: bytes lost for want of room in its ring, as already told to the console. */
  readonly #dropped: number[];
  #scheduled: NodeJS.Immediate | undefined;

  /** `withLock` runs a task with the machine lock held, now or soon. */
  constructor(
    console: GuestConsole,
    platform: PlatformHost,
    virtio: ConsoleHost | undefined,
    withLock: (task: () => void) => void,
    resize: (columns: number, rows: number) => void,
  ) {
    this.#console = console;
    this.#platform = platform;
    this.#virtio = virtio;
    this.#sources = virtio === undefined ? [platform.serial] : [platform.serial, virtio];
    this.#dropped = this.#sources.map(() => 0);
    this.#withLock = withLock;
    this.#resize = resize;
  }

  input(bytes: Uint8Array): number {
    if (this.#virtio !== undefined) return this.#virtio.writeInput(bytes);
    const taken = this.#platform.serial.writeInput(bytes);
    this.#settle();
    return taken;
  }

  resume(): void {
    this.pump();
  }

  resize(columns: number, rows: number): void {
    this.#resize(columns, rows);
  }

  /** There is output that could be taken. */
  get pending(): boolean {
    return this.#console.accepts && this.#sources.some((source) => source.outputLength > 0);
  }

  /** Takes what there is, within a budget; how many bytes that was. */
  pump(): number {
    const left = this.#take(budget, () => this.#console.accepts);
    this.#settle();
    if (left <= 0) this.#scheduled ??= setImmediate(() => this.#again());
    return budget - left;
  }

  /** Everything that is left, at the end: the rings are bounded, and nobody can be made to wait any more. */
  drain(): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.#take(Number.POSITIVE_INFINITY, () => true);
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
        this.#console.deliver(chunk.subarray(0, count));
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
    const { serial } = this.#platform;
    if (!serial.unsettled) return;
    this.#withLock(() => {
      if (serial.unsettled) serial.settle();
    });
  }
}
