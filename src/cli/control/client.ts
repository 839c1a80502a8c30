/**
 * The other end of a machine's socket: what `tsvmm ps`, `pause` and so on are (protocol.ts). Main thread.
 */
import type { Socket } from 'node:net';
import { TsvmmError } from '../../errors.js';
import { didYouMean } from '../../suggest.js';
import type { ControlCommand } from './command.js';
import { connectTo, isGone } from './connect.js';
import { type FieldsOf, readResult, type Shape } from './fields.js';
import { parseMachineName } from './machine-name.js';
import { holderOf } from './name-claim.js';
import { LineReader, mostLine, parseAnswer, parseHello, parseLine, parseProgress } from './protocol.js';
import { checkRuntimeDirectory, namesIn, type Place, placeOf, runtimeDirectory } from './runtime-directory.js';

/** For a process that has nothing to do but to say who it is. */
const helloMs = 5000;

export const lost = {
  message: 'the connection was lost',
  hint: 'its tsvmm run has ended; tsvmm ps lists those that run',
};

export class MachineClient {
  readonly name: string;
  readonly #socket: Socket;
  readonly #lines = new LineReader();
  #pid = 0;
  /** Looks again whether the line that is waited for is there. */
  #look = nobodyWaits;
  #failure: TsvmmError | undefined;

  private constructor(socket: Socket, name: string) {
    this.name = name;
    this.#socket = socket;
    socket.on('data', this.#onData);
    socket.on('error', this.#onLost).once('close', this.#onLost);
  }

  /** Throws as the connection fails: see `isGone`. */
  static async connect(place: Place, name: string): Promise<MachineClient> {
    const client = new MachineClient(await connectTo(place.socket), name);
    const late = setTimeout(() => {
      const pid = holderOf(place) ?? 'PID';
      client.#fail('it does not answer', `if its process is stopped, let it go on: kill -CONT ${pid}`);
    }, helloMs);
    try {
      client.#pid = (await client.#receive(parseHello)).pid;
      return client;
    } catch (error) {
      client.close();
      throw error;
    } finally {
      clearTimeout(late);
    }
  }

  get pid(): number {
    return this.#pid;
  }

  /** Sends a command and waits for its answer, however long that takes. `onProgress` is for one that is asked to tell. */
  async request<Q extends Shape, R extends Shape>(
    { name: command, result }: ControlCommand<string, Q, R>,
    fields: Partial<FieldsOf<Q>>,
    onProgress?: (done: number, total: number) => void,
  ): Promise<FieldsOf<R>> {
    this.#socket.write(`${JSON.stringify({ command, ...fields })}\n`);
    for (;;) {
      const answer = await this.#receive((object) => {
        const at = parseProgress(object);
        if (at === undefined) return readResult(result, parseAnswer(object));
        onProgress?.(at.done, at.total);
        return undefined;
      });
      if (answer !== undefined) return answer;
    }
  }

  /** No request follows; one that ends with its client is given up, which is its answer. */
  end(): void {
    this.#socket.end();
  }

  /** The connection after a command that makes a stream of it, and what of that has come already. */
  handOver(): { readonly socket: Socket; readonly rest: Buffer } {
    const socket = this.#socket.off('data', this.#onData).off('error', this.#onLost).off('close', this.#onLost);
    return { socket, rest: this.#lines.rest() };
  }

  close(): void {
    this.#socket.destroy();
  }

  readonly #onData = (chunk: Buffer): void => {
    this.#lines.push(chunk);
    this.#look();
  };

  readonly #onLost = (): void => {
    this.#fail(lost.message, lost.hint);
  };

  #fail(message: string, hint: string): void {
    this.#failure ??= new TsvmmError('ERR_TSVMM_STATE', message, { hint });
    this.#look();
  }

  async #receive<T>(read: (object: Readonly<Record<string, unknown>>) => T): Promise<T> {
    try {
      return read(parseLine(await this.#line()));
    } catch (error) {
      if (!(error instanceof TsvmmError)) throw error;
      throw new TsvmmError(error.code, `${this.name}: ${error.message}`, { hint: error.hint });
    }
  }

  #line(): Promise<Buffer> {
    const line = new Promise<Buffer>((resolve, reject) => {
      this.#look = () => {
        const line = this.#lines.take();
        if (line !== undefined) resolve(line);
        else if (this.#lines.isTooLong)
          reject(new TsvmmError('ERR_TSVMM_STATE', `it answers with more than ${mostLine} bytes in a line`));
        else if (this.#failure) reject(this.#failure);
        else return;
        this.#look = nobodyWaits; // what follows a command's answer may be no line
      };
    });
    this.#look();
    return line;
  }
}

const nobodyWaits = (): void => {};

/** The machine of this name; throws `ERR_TSVMM_STATE` when there is none. `words` may have been meant instead. */
export async function connectMachine(name: string, words: readonly string[] = []): Promise<MachineClient> {
  parseMachineName(name, 'NAME');
  const folder = runtimeDirectory();
  const place = placeOf(folder, name);
  if (!checkRuntimeDirectory(folder)) throw noMachine(name, words);
  try {
    return await MachineClient.connect(place, name);
  } catch (error) {
    if (isGone(error)) throw noMachine(name, [...words, ...namesIn(folder)]);
    if (error instanceof TsvmmError) throw error;
    const { code, message } = error as NodeJS.ErrnoException;
    throw new TsvmmError('ERR_TSVMM_STATE', `${name}: no connection is possible (${code ?? message})`, {
      cause: error,
    });
  }
}

const noMachine = (name: string, names: readonly string[]): TsvmmError =>
  new TsvmmError('ERR_TSVMM_STATE', `no machine named ${name} is running`, {
    hint: didYouMean(
      name,
      names.filter((other) => other !== name),
      'tsvmm ps lists those that run',
    ),
  });
