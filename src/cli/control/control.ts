/**
 * What makes a machine of `tsvmm run --name` reachable from other shells: its name, its socket, and who is connected. Main thread.
 *
 * The name is taken before anything else is done, and free again as soon as the machine has ended, however that comes; after
 * SIGKILL `tsvmm ps`, or the next machine of that name, removes what was left.
 */
import { once } from 'node:events';
import { createServer, type Server, type Socket } from 'node:net';
import { TsvmmError } from '../../errors.js';
import { monotonicMs } from '../../host/clock.js';
import type { Ending } from '../ending.js';
import type { Machine } from '../machine.js';
import { Connection } from './connection.js';
import { ConsoleHub } from './console-hub.js';
import type { Forks, HowToFork } from './forks.js';
import { claimName, type NameClaim } from './name-claim.js';
import { errorLine, type Hello } from './protocol.js';
import { makeRuntimeDirectory, placeOf, runtimeDirectory } from './runtime-directory.js';
import type { Served } from './served.js';

const mostConnections = 32;
/** For what is connected to read the last that is said to it. */
const graceMs = 1000;
const onlyOwner = 0o177;

/** For `process.exit`: the names that this process has, of however many machines. */
const freeAtExit = new Set<() => void>();
process.once('exit', () => {
  for (const free of freeAtExit) free();
});

export interface ControlOptions {
  readonly name: string;
  readonly memory: number;
  readonly cpus: number;
  readonly ending: Ending;
  readonly forks: Forks;
  /** The directory that the machine is restored from. */
  readonly snapshot?: string | undefined;
}

export class Control implements Served {
  readonly name: string;
  readonly memory: number;
  readonly cpus: number;
  readonly consoles = new ConsoleHub();
  lastSnapshot: string | undefined;
  readonly #startedAt = monotonicMs();
  readonly #hello: Hello;
  readonly #ending: Ending;
  readonly #forks: Forks;
  readonly #claim: NameClaim;
  readonly #server: Server;
  readonly #connections = new Map<Socket, Connection>();
  #state = 'starting';
  readonly #started = settleLater<Machine>();
  readonly #ended = settleLater<string>();
  readonly #free = () => this.#freeName();

  private constructor({ name, memory, cpus, ending, forks, snapshot }: ControlOptions, claim: NameClaim) {
    this.name = name;
    this.memory = memory;
    this.cpus = cpus;
    this.lastSnapshot = snapshot;
    this.#ending = ending;
    this.#forks = forks;
    this.#claim = claim;
    this.#hello = { name, pid: process.pid };
    this.#server = createServer({ allowHalfOpen: true }, (socket) => this.#accept(socket));
    freeAtExit.add(this.#free);
  }

  /** Takes the name and listens; throws `ERR_TSVMM_CONFIG` when it is taken, or there is no place for sockets. */
  static async open(options: ControlOptions): Promise<Control> {
    const folder = runtimeDirectory();
    const place = placeOf(folder, options.name);
    makeRuntimeDirectory(folder);
    const claim = await claimName(place, options.name);
    const control = new Control(options, claim);
    try {
      claim.removeStale();
      await control.#listen(place.socket);
      return control;
    } catch (error) {
      await control.close();
      const { code, message } = error as NodeJS.ErrnoException;
      throw new TsvmmError('ERR_TSVMM_CONFIG', `the socket ${place.socket} cannot be made: ${code ?? message}`, {
        cause: error,
      });
    }
  }

  uptimeMs(): number {
    return Math.round(monotonicMs() - this.#startedAt);
  }

  state(): string {
    return this.#state;
  }

  machine(): Promise<Machine> {
    return this.#started.promise;
  }

  async stop(how: { readonly timeoutMs?: number; readonly kill?: boolean }): Promise<string> {
    this.#ending.stop(how);
    return this.#ended.promise;
  }

  async fork(how: HowToFork): Promise<string[]> {
    return this.#forks.make(this, await this.machine(), how);
  }

  /** From now on there is a machine. */
  started(machine: Machine): void {
    this.#state = machine.state;
    machine.on('state', (to) => {
      this.#state = to;
    });
    this.consoles.connect(machine.console);
    this.#started.resolve(machine);
  }

  /** The machine has ended, for this reason: its name can be used again. */
  ended(reason: string): void {
    this.#freeName();
    this.#ended.resolve(reason);
  }

  /** Lets all who are connected go, who see the end of what they asked for, and gives up what ends with them. Idempotent. */
  async close(): Promise<void> {
    this.ended('aborted');
    this.#started.reject(new TsvmmError('ERR_TSVMM_STATE', 'the machine did not start'));
    this.consoles.end(await this.#ended.promise);
    const left = [...this.#connections.values()];
    const destroy = (): void => {
      for (const connection of left) connection.destroy();
    };
    const late = setTimeout(destroy, graceMs);
    await Promise.all(left.map((connection) => connection.end()));
    clearTimeout(late);
    destroy();
  }

  /** The socket has its mode from its first moment on: bind(2) looks at the umask. */
  async #listen(path: string): Promise<void> {
    const umask = process.umask(onlyOwner);
    try {
      this.#server.listen({ path, exclusive: true });
    } finally {
      process.umask(umask);
    }
    await once(this.#server, 'listening');
    this.#server.on('error', () => {}); // one connection that could not be accepted (EMFILE): its client hears of it
  }

  #accept(socket: Socket): void {
    socket.on('error', () => socket.destroy()); // its client went away
    if (this.#connections.size >= mostConnections) {
      const message = `${mostConnections} connections to this machine are open already`;
      socket.end(errorLine({ code: 'ERR_TSVMM_STATE', message }), () => socket.destroy());
      return;
    }
    this.#connections.set(socket, new Connection(socket, this, this.#hello));
    socket.once('close', () => this.#connections.delete(socket));
  }

  /** libuv removes the socket as it closes it, and must do so while the name is still ours. */
  #freeName(): void {
    this.#server.close();
    freeAtExit.delete(this.#free);
    try {
      this.#claim.release();
    } catch {
      // Files are left then, as by a process that was killed: whoever wants the name next removes them, or says why not.
    }
  }
}

interface Later<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: Error): void;
}

/** A promise that others settle; one that nobody waits for may be rejected. */
function settleLater<T>(): Later<T> {
  let resolve!: (value: T) => void;
  let reject!: (error: Error) => void;
  const promise = new Promise<T>((resolved, rejected) => {
    resolve = resolved;
    reject = rejected;
  });
  promise.catch(() => {});
  return { promise, resolve, reject };
}
