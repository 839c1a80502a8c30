/**
 * The console of a machine in another process, as a Duplex: what `machine.console` is there (frames.ts). Main thread.
 *
 * It ends with the machine, or with the connection; `endReason` tells which.
 */
import type { Socket } from 'node:net';
import { Duplex } from 'node:stream';
import { FrameReader, FromMachine, framesOf, sizeFrame, ToMachine } from './frames.js';

export class RemoteConsole extends Duplex {
  /** Why the machine ended; undefined of one that has not, or of which that is not known. */
  endReason: string | undefined;
  readonly #socket: Socket;
  readonly #frames = new FrameReader(FromMachine);
  readonly #onGap: (bytes: number) => void;

  /** `onGap` hears of output that was left out because it was not read in time. `rest` came before. */
  constructor(socket: Socket, rest: Buffer, onGap: (bytes: number) => void) {
    super();
    this.#socket = socket;
    this.#onGap = onGap;
    socket.on('data', (chunk: Buffer) => this.#take(chunk));
    socket.on('error', () => socket.destroy()).once('close', () => this.push(null));
    this.#take(rest);
  }

  resize(columns: number, rows: number): void {
    if (this.#socket.writable) this.#socket.write(sizeFrame(columns, rows));
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, callback: (error?: Error | null) => void): void {
    // One that is gone reads nothing, as a closed terminal.
    if (!this.#socket.writable) callback();
    else this.#socket.write(Buffer.concat(framesOf(ToMachine.input, chunk)), () => callback());
  }

  override _destroy(error: Error | null, callback: (error?: Error | null) => void): void {
    this.#socket.destroy();
    callback(error);
  }

  #take(chunk: Buffer): void {
    try {
      this.#frames.push(chunk);
      for (let next = this.#frames.take(); next !== undefined; next = this.#frames.take())
        this.#show(next.type, next.payload);
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.#socket.destroy();
    }
  }

  #show(type: number, payload: Buffer): void {
    if (type === FromMachine.end) this.endReason = payload.toString('latin1');
    else if (type === FromMachine.gap) this.#onGap(Number(payload.readBigUInt64BE()));
    else if (!this.push(payload)) this.#socket.pause();
  }
}
