/**
 * Moves console bytes between a running machine's shared rings and its GuestConsole. Main thread.
 *
 * Output of the serial port and of a virtio console come out as one stream: early messages and panics go to the serial
 * port whatever the guest's console is. Input goes to the device that was chosen.
 */
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

  /** Takes what there is, within a budget. */
  pump(): void {
    let left = budget;
    for (const source of this.#virtio === undefined ? [this.#platform.serial] : [this.#platform.serial, this.#virtio]) {
      while (left > 0 && this.#console.accepts) {
        const length = Math.min(source.outputLength, chunkSize);
        if (length === 0) break;
        const chunk = Buffer.alloc(length);
        const count = source.readOutput(chunk);
        left -= count;
        this.#console.deliver(chunk.subarray(0, count));
      }
    }
    this.#settle();
    if (left <= 0) this.#scheduled ??= setImmediate(() => this.#again());
  }

  /** Everything that is left, at the end: the rings are bounded. */
  drain(): void {
    if (this.#scheduled !== undefined) clearImmediate(this.#scheduled);
    this.pump();
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
