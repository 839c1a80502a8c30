/**
 * One attached console, in the process of the machine: output of the guest to its connection, input from there to the guest, in
 * frames (frames.ts). Main thread.
 *
 * The guest never waits for it. What the connection does not take is kept up to `mostUnread`; then output is left out until all
 * that was kept has gone, and the reader is told how much it missed. A frame that is none ends the connection.
 */
import type { Socket } from 'node:net';
import { ByteQueue } from './byte-queue.js';
import { FrameReader, FromMachine, frame, framesOf, gapFrame, ToMachine } from './frames.js';

/** Besides what is being written, which is no more than that. */
export const mostUnread = 1024 * 1024;

export interface ConsoleStreamHooks {
  /** False: no more input for now, until `resume`. */
  input(bytes: Buffer): boolean;
  resize(columns: number, rows: number): void;
  closed(): void;
}

export class ConsoleStream {
  readonly #socket: Socket;
  readonly #hooks: ConsoleStreamHooks;
  readonly #frames = new FrameReader(ToMachine);
  readonly #unread = new ByteQueue();
  /** Bytes left out behind those. */
  #missed = 0;
  #isWriting = false;

  constructor(socket: Socket, hooks: ConsoleStreamHooks) {
    this.#socket = socket;
    this.#hooks = hooks;
  }

  /** `rest` came behind the request. */
  start(rest: Buffer): void {
    const socket = this.#socket;
    socket.once('close', () => this.#hooks.closed());
    if (socket.readableEnded) socket.end();
    else socket.once('end', () => socket.end());
    socket.on('data', (chunk: Buffer) => this.#take(chunk)).resume();
    this.#take(rest);
  }

  show(chunk: Buffer): void {
    if (this.#missed > 0 || this.#unread.length + chunk.length > mostUnread) this.#missed += chunk.length;
    else this.#unread.push(chunk);
    this.#write();
  }

  resume(): void {
    this.#socket.resume();
  }

  end(reason: string): void {
    if (!this.#socket.writable) return;
    for (const each of this.#due()) this.#socket.write(each);
    this.#socket.end(frame(FromMachine.end, Buffer.from(reason, 'latin1')));
  }

  /** One write at a time: what comes meanwhile is joined, or left out. */
  #write(): void {
    if (this.#isWriting || !this.#socket.writable) return;
    const due = this.#due();
    if (due.length === 0) return;
    this.#isWriting = true;
    this.#socket.write(Buffer.concat(due), () => {
      this.#isWriting = false;
      this.#write();
    });
  }

  #due(): Buffer[] {
    const due = this.#unread.length === 0 ? [] : framesOf(FromMachine.output, this.#unread.take());
    if (this.#missed > 0) due.push(gapFrame(this.#missed));
    this.#missed = 0;
    return due;
  }

  #take(chunk: Buffer): void {
    try {
      this.#frames.push(chunk);
      for (let next = this.#frames.take(); next !== undefined; next = this.#frames.take()) {
        const { type, payload } = next;
        if (type === ToMachine.size) this.#resize(payload);
        else if (!this.#hooks.input(payload)) this.#socket.pause();
      }
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#socket.destroy();
    }
  }

  #resize(payload: Buffer): void {
    const [columns, rows] = payload.length === 4 ? [payload.readUInt16BE(0), payload.readUInt16BE(2)] : [0, 0];
    if (columns === 0 || rows === 0) throw new RangeError('no size of a terminal');
    this.#hooks.resize(columns, rows);
  }
}
