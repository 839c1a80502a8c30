/**
 * The guest's console for those who are attached to it, besides the one that `tsvmm run` itself shows. Main thread.
 *
 * Each sees all output, beginning with the newest that there was; what any of them types goes to the guest, as it comes. A guest
 * that does not read lets their connections wait, not this process's memory grow. The size that the guest's terminal has is the one
 * that was told last.
 */
import type { Socket } from 'node:net';
import { TsvmmError } from '../../errors.js';
import type { Machine } from '../machine.js';
import { ConsoleStream } from './console-stream.js';
import { ConsoleTail } from './console-tail.js';

const mostStreams = 16;

export class ConsoleHub {
  readonly #streams = new Set<ConsoleStream>();
  /** Those whose input the guest does not take for now. */
  readonly #waiting = new Set<ConsoleStream>();
  readonly #tail = new ConsoleTail();
  #console: Machine['console'] | undefined;

  /** From now on there is a console. */
  connect(guest: Machine['console']): void {
    this.#console = guest;
    guest.on('drain', () => {
      for (const stream of this.#waiting) stream.resume();
      this.#waiting.clear();
    });
  }

  /** Output of the guest, which it does not wait for. */
  show(chunk: Buffer): void {
    this.#tail.add(chunk);
    for (const stream of this.#streams) stream.show(chunk);
  }

  /** Throws `ERR_TSVMM_STATE` when no more can be attached. */
  checkRoom(): void {
    if (this.#streams.size < mostStreams) return;
    throw new TsvmmError('ERR_TSVMM_STATE', `${mostStreams} consoles are attached to it already`, {
      hint: 'leave one of them, with Ctrl-]',
    });
  }

  /** `rest` came behind the request. */
  attach(socket: Socket, rest: Buffer): void {
    const stream: ConsoleStream = new ConsoleStream(socket, {
      input: (bytes) => this.#input(stream, bytes),
      resize: (columns, rows) => this.#console?.resize(columns, rows),
      closed: () => {
        this.#streams.delete(stream);
        this.#waiting.delete(stream);
      },
    });
    this.#streams.add(stream);
    stream.show(this.#tail.read());
    stream.start(rest);
  }

  /** The machine has ended, and all of its output was shown. */
  end(reason: string): void {
    for (const stream of this.#streams) stream.end(reason);
  }

  #input(stream: ConsoleStream, bytes: Buffer): boolean {
    const guest = this.#console;
    if (guest === undefined || !guest.writable || guest.write(bytes)) return true;
    this.#waiting.add(stream);
    return false;
  }
}
