/**
 * One connection to a machine's socket, in the process of the machine: requests come in, answers go out (protocol.ts). Main thread.
 *
 * Whoever connects is the same user, and may be confused all the same. One request is served at a time, and no more is read
 * meanwhile, nor while an answer waits to be read; between two requests the event loop turns; who says nothing for a while has to
 * go. Whatever a request causes is an answer, and never an exception. While a command that ends with its client is served, one
 * chunk more is read: else its end would not be seen.
 */
import type { Socket } from 'node:net';
import { TsvmmError } from '../../errors.js';
import { errorFields } from '../json-events.js';
import type { Work } from './command.js';
import { commandOf, parseRequest } from './commands/table.js';
import { errorLine, type Hello, helloLine, LineReader, mostLine, progressLine, resultLine } from './protocol.js';
import type { Served } from './served.js';

/** For the next request to come, or the last answer to be read. */
const idleMs = 30_000;

export class Connection {
  readonly #socket: Socket;
  readonly #served: Served;
  readonly #lines = new LineReader();
  #idle: NodeJS.Timeout | undefined;
  /** A request is being served, or its answer read. */
  #isBusy = false;
  /** It ends when it is not busy. */
  #isEnding = false;
  #isStream = false;
  /** Aborted when no more than the answer that is due can come of it. */
  readonly #abort = new AbortController();
  /** One that ends with its client, until it has ended. */
  #work: Promise<unknown> | undefined;
  readonly #onData = (chunk: Buffer) => {
    this.#lines.push(chunk);
    if (this.#isBusy) this.#socket.pause();
    else this.#next();
  };
  readonly #onEnd = () => {
    this.#isEnding = true;
    this.#abort.abort(new Error('the client went away'));
    this.#next();
  };

  constructor(socket: Socket, served: Served, hello: Hello) {
    this.#socket = socket;
    this.#served = served;
    socket.once('close', () => {
      clearTimeout(this.#idle);
      this.#abort.abort(new Error('the client went away'));
    });
    socket.on('data', this.#onData).on('end', this.#onEnd);
    socket.write(helloLine(hello));
    this.#wait();
  }

  /** Ends it after the answer that is due; resolves when all that was written has been handed over, or cannot be. */
  async end(): Promise<void> {
    const socket = this.#socket;
    this.#isEnding = true;
    this.#abort.abort(new TsvmmError('ERR_TSVMM_STATE', 'the machine has ended before that was done'));
    if (!this.#isStream) {
      this.#lines.rest();
      this.#next();
    }
    await new Promise<void>((resolve) => {
      if (socket.writableFinished || socket.destroyed) resolve();
      else socket.once('finish', resolve).once('close', resolve);
    });
    await this.#work?.catch(() => {}); // its client heard of it, or is gone
  }

  destroy(): void {
    this.#socket.destroy();
  }

  #next(): void {
    if (this.#isBusy || this.#socket.destroyed) return;
    const line = this.#lines.take();
    if (line !== undefined) void this.#serve(line);
    else if (this.#lines.isTooLong) {
      this.#socket.end(errorLine({ code: 'ERR_TSVMM_CONFIG', message: `a line is longer than ${mostLine} bytes` }));
      this.#leave();
      this.#wait();
      this.#socket.resume(); // until its end, which nobody looks at
    } else if (this.#isEnding) this.#socket.end();
    else {
      this.#wait();
      this.#socket.resume();
    }
  }

  /** For the client, which has only so long. */
  #wait(): void {
    clearTimeout(this.#idle);
    this.#idle = setTimeout(() => this.#socket.destroy(), idleMs).unref();
  }

  async #serve(line: Buffer): Promise<void> {
    const socket = this.#socket;
    this.#isBusy = true;
    socket.pause();
    clearTimeout(this.#idle);
    let answer: string;
    let stream: (() => void) | undefined;
    try {
      const request = parseRequest(line);
      const command = commandOf(request);
      const result = command.serve(request.fields, this.#served, this.#newWork());
      if (command.endsWithClient) {
        this.#work = result;
        socket.resume(); // its end is to be seen
      }
      answer = resultLine(await result);
      if (command.stream) stream = () => command.stream?.(socket, this.#lines.rest(), this.#served);
    } catch (error) {
      answer = errorLine(errorFields(error));
    }
    if (socket.destroyed) return;
    const isRead = socket.write(answer);
    if (stream !== undefined) {
      this.#leave();
      stream();
      return;
    }
    this.#wait();
    if (isRead) setImmediate(() => this.#goOn());
    else socket.once('drain', () => this.#goOn());
  }

  #newWork(): Work {
    const { signal } = this.#abort;
    let told = -1;
    const onProgress = (done: number, total: number): void => {
      const percent = Math.floor((100 * done) / total);
      if (percent === told || signal.aborted || this.#socket.writableLength > 0) return; // it reads as fast as it likes
      told = percent;
      this.#socket.write(progressLine(done, total));
    };
    return { signal, onProgress };
  }

  #goOn(): void {
    this.#isBusy = false;
    this.#next();
  }

  /** No requests come here any more. */
  #leave(): void {
    clearTimeout(this.#idle);
    this.#isStream = true;
    this.#socket.off('data', this.#onData).off('end', this.#onEnd);
  }
}
