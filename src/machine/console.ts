/**
 * The guest's console as a Duplex. Main thread.
 *
 * Output comes from a ring that the vCPUs fill; input goes into one that they empty. Unread output is bounded: the
 * newest `buffer` bytes are kept and what is dropped is counted (trap T38), unless `whenUnread` is `block`, which stops
 * emptying the ring and so stalls the guest's transmitter. `lines` and `waitFor` look on without taking anything away.
 */
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import { StringDecoder } from 'node:string_decoder';
import { types } from 'node:util';
import { TsvmmError } from '../errors.js';
import { bad } from './checks.js';
import { shielded } from './listeners.js';
import { type Duration, parseDuration, show } from './units.js';

export interface CallOptions {
  signal?: AbortSignal | undefined;
  timeout?: Duration | undefined;
}

/** What carries the bytes to and from the machine that is running now. */
export interface ConsoleLink {
  /** Puts as many bytes as fit into the guest's input; how many that was. */
  input(bytes: Uint8Array): number;
  /** Room was made: output may be taken from the ring again. */
  resume(): void;
  resize(columns: number, rows: number): void;
}

/** What one turn of main delivers at most (console-pump.ts): more than that nobody can look at in time. */
export const turnBudget = 256 * 1024;
/** How much of the newest output `tail` and `waitFor` remember. */
const tailSize = 64 * 1024;
/** What `whenUnread: 'block'` keeps beyond its limit: more than the rings of one machine hold when it ends. */
const resetAllowance = 256 * 1024;
/** Chunks are joined up to this size. */
const joinedChunk = 4096;
/** How long a full input ring is left to the guest before it is looked at again. */
const inputRetryMs = 10;

export class GuestConsole extends Duplex {
  readonly #limit: number;
  readonly #block: boolean;
  readonly #watchers = new EventEmitter().setMaxListeners(0);
  #unread: Buffer[] = [];
  #unreadBytes = 0;
  #wanted = false;
  #tail: Buffer[] = [];
  #tailBytes = 0;
  #dropped = 0;
  #ended = false;
  #link: ConsoleLink | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** Of the write that waits for room in the guest's input. */
  #written: (() => void) | undefined;
  #size: readonly [number, number] | undefined;

  /** @internal A machine makes its own. */
  constructor(options: { readonly buffer: number; readonly whenUnread: 'drop-oldest' | 'block' }) {
    super({ readableHighWaterMark: 4096, decodeStrings: true, allowHalfOpen: true });
    this.#limit = options.buffer;
    this.#block = options.whenUnread === 'block';
  }

  /** The newest output as text, at most 64 KiB. */
  get tail(): string {
    return Buffer.concat(this.#tail).subarray(-tailSize).toString('utf8');
  }

  /** Bytes of output that nobody read in time. */
  get droppedBytes(): number {
    return this.#dropped;
  }

  /** Tells the guest its terminal's size, where the console device can. */
  resize(columns: number, rows: number): void {
    for (const [what, value] of [
      ['columns', columns],
      ['rows', rows],
    ] as const) {
      if (Number.isInteger(value) && value >= 1 && value <= 0xffff) continue;
      throw new TsvmmError('ERR_TSVMM_CONFIG', `console.resize: ${show(value)} ${what} are not possible`, {
        hint: 'use whole numbers from 1 to 65535',
      });
    }
    this.#size = [columns, rows];
    this.#link?.resize(columns, rows);
  }

  /**
   * Lines of output from now on, without their line ends; ends with the machine. What has no line end yet, such as a
   * prompt, is no line: `waitFor` sees it. Who falls further behind than `buffer` (64 KiB at least) and one turn of the
   * event loop misses the oldest.
   */
  async *lines(options: CallOptions = {}): AsyncGenerator<string, void, void> {
    const decoder = new StringDecoder('utf8');
    let rest = '';
    for await (const chunk of this.#chunks(options)) {
      const parts = (rest + decoder.write(chunk)).split('\n');
      rest = parts.pop()!;
      for (const line of parts) yield line.replace(/\r$/, '');
      if (rest.length > tailSize) rest = rest.slice(-tailSize);
    }
    if (rest !== '') yield rest.replace(/\r$/, '');
  }

  /**
   * Resolves with the first match of `pattern` in the output kept so far or still to come. Rejects with the signal's
   * reason, with `ERR_TSVMM_TIMEOUT`, or with `ERR_TSVMM_STATE` when the machine ends first.
   */
  async waitFor(pattern: string | RegExp, options: CallOptions = {}): Promise<string> {
    if (typeof pattern !== 'string' && !types.isRegExp(pattern))
      throw bad(`waitFor: ${show(pattern)} cannot be waited for`, 'pass a string or a regular expression');
    const decoder = new StringDecoder('utf8');
    const expression =
      typeof pattern === 'string' ? undefined : new RegExp(pattern.source, pattern.flags.replace(/[gy]/g, ''));
    const match = (text: string): string | undefined =>
      typeof pattern === 'string' ? (text.includes(pattern) ? pattern : undefined) : expression!.exec(text)?.[0];
    let text = decoder.write(Buffer.concat(this.#tail));
    const found = match(text);
    if (found !== undefined) return found;
    for await (const chunk of this.#chunks(options)) {
      text = (text + decoder.write(chunk)).slice(-2 * tailSize);
      const hit = match(text);
      if (hit !== undefined) return hit;
    }
    throw new TsvmmError('ERR_TSVMM_STATE', `the machine ended before its console showed ${pattern}`, {
      consoleTail: this.tail,
    });
  }

  async *#chunks({ signal, timeout }: CallOptions): AsyncGenerator<Buffer, void, void> {
    if (this.#ended) return;
    const queue: Buffer[] = [];
    let queued = 0;
    const limit = Math.max(this.#limit, tailSize) + turnBudget;
    let wake: () => void = () => {};
    let done = false;
    let failure: unknown;
    const onChunk = (chunk: Buffer): void => {
      append(queue, chunk);
      queued += chunk.length;
      while (queued > limit && queue.length > 1) queued -= queue.shift()!.length;
      wake();
    };
    const onEnd = (): void => {
      done = true;
      wake();
    };
    const fail = (reason: unknown): void => {
      failure = reason ?? new Error('aborted');
      wake();
    };
    const onAbort = (): void => fail(signal?.reason);
    if (signal?.aborted) throw signal.reason;
    const ms = timeout === undefined ? undefined : parseDuration('timeout', timeout);
    const timer =
      ms === undefined
        ? undefined
        : setTimeout(
            () =>
              fail(new TsvmmError('ERR_TSVMM_TIMEOUT', `nothing matched within ${ms} ms`, { consoleTail: this.tail })),
            ms,
          );
    signal?.addEventListener('abort', onAbort, { once: true });
    this.#watchers.on('chunk', onChunk).once('end', onEnd);
    try {
      for (;;) {
        for (let chunk = queue.shift(); chunk !== undefined; chunk = queue.shift()) {
          queued -= chunk.length;
          yield chunk;
        }
        if (failure !== undefined) throw failure;
        if (done) return;
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      clearTimeout(timer);
      signal?.removeEventListener('abort', onAbort);
      this.#watchers.off('chunk', onChunk).off('end', onEnd);
    }
  }

  // What the machine calls.

  /** @internal Shows `look` every chunk from now on. */
  watch(look: (chunk: Buffer) => void): void {
    this.#watchers.on('chunk', look);
  }

  /** @internal A machine has started (or started again): its rings are where bytes go now. */
  attach(link: ConsoleLink): void {
    this.#link = link;
    if (this.#size !== undefined) link.resize(...this.#size);
  }

  /** @internal That machine is gone: until there is another, input waits and no ring is touched. */
  detach(link: ConsoleLink): void {
    if (this.#link === link) this.#link = undefined;
  }

  /** @internal Whether output may be taken from the ring now. */
  get accepts(): boolean {
    return !this.#block || this.#unreadBytes < this.#limit;
  }

  /** @internal Output of the guest; the console keeps `chunk`. */
  deliver(chunk: Buffer): void {
    if (this.#ended || chunk.length === 0) return;
    append(this.#tail, chunk);
    this.#tailBytes += chunk.length;
    while (this.#tailBytes - this.#tail[0]!.length >= tailSize) this.#tailBytes -= this.#tail.shift()!.length;
    if (this.#wanted && this.#unread.length === 0) this.#hand(chunk);
    else this.#keep(chunk);
    this.#watchers.emit('chunk', chunk);
  }

  /** @internal Bytes of output that were lost before they came here. */
  lost(bytes: number): void {
    this.#dropped += bytes;
  }

  /** @internal The machine is gone for good: readers see the end. */
  finish(): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#link = undefined;
    this.#giveUpWrite();
    if (this.#wanted) this.#flush();
    this.#watchers.emit('end');
  }

  override _read(): void {
    this.#wanted = true;
    this.#flush();
  }

  #flush(): void {
    const before = this.#unreadBytes;
    while (this.#wanted && this.#unread.length > 0) {
      const chunk = this.#unread.shift()!;
      this.#unreadBytes -= chunk.length;
      this.#hand(chunk);
    }
    if (this.#ended && this.#unread.length === 0) this.push(null);
    else if (this.#block && before >= this.#limit && this.#unreadBytes < this.#limit) this.#link?.resume();
  }

  /** A 'data' listener runs in here; if it throws, the stream wants more, as any stream of Node's then does. */
  #hand(chunk: Buffer): void {
    this.#wanted = shielded(() => this.push(chunk)) ?? true;
  }

  #keep(chunk: Buffer): void {
    append(this.#unread, chunk);
    this.#unreadBytes += chunk.length;
    // A guest that is made to wait sends no more, but one that resets again and again leaves its rings behind each time.
    const limit = this.#block ? this.#limit + resetAllowance : this.#limit;
    while (this.#unreadBytes > limit) {
      const oldest = this.#unread[0]!;
      const excess = Math.min(this.#unreadBytes - limit, oldest.length);
      if (excess === oldest.length) this.#unread.shift();
      else this.#unread[0] = oldest.subarray(excess);
      this.#unreadBytes -= excess;
      this.#dropped += excess;
    }
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    // A guest that is gone reads nothing, as a closed terminal.
    const taken = this.#ended ? chunk.length : (this.#link?.input(chunk) ?? 0);
    if (taken === chunk.length) {
      this.#written = undefined;
      callback();
      return;
    }
    // Flow control: the guest has not read what is there.
    this.#written = callback;
    this.#retry = setTimeout(
      () => this._write(chunk.subarray(taken), 'buffer' as BufferEncoding, callback),
      inputRetryMs,
    ).unref();
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#giveUpWrite();
    callback(error);
  }

  /** Nobody will read what waits: whoever wrote it waits no longer. */
  #giveUpWrite(): void {
    clearTimeout(this.#retry);
    const written = this.#written;
    this.#written = undefined;
    written?.();
  }
}

/** Adds `chunk` to `list`; small ones are joined, since a Buffer of one byte costs 100 times that. */
function append(list: Buffer[], chunk: Buffer): void {
  const last = list.at(-1);
  if (last === undefined || last.length + chunk.length > joinedChunk) list.push(chunk);
  else list[list.length - 1] = Buffer.concat([last, chunk]);
}
