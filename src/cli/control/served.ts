/** What the commands of a machine's socket work on, in the process that runs the machine. Main thread. */
import type { Machine } from '../machine.js';
import type { ConsoleHub } from './console-hub.js';
import type { HowToFork } from './forks.js';

export interface Served {
  /** Bytes of guest memory, and vCPUs. */
  readonly memory: number;
  readonly cpus: number;
  readonly consoles: ConsoleHub;
  /** The directory of the newest snapshot that was taken of it here, or from which it was restored. */
  lastSnapshot: string | undefined;
  /** Since the start began. */
  uptimeMs(): number;
  /** Of a machine, or `starting` while there is none. */
  state(): string;
  /** The machine, once it has started; rejects when it has not. */
  machine(): Promise<Machine>;
  /** Makes forks of the machine, each of which is reached by its name; answers the names. All or none. */
  fork(how: HowToFork): Promise<string[]>;
  /** Asks the guest to power off and forces it off after that time, or at once; resolves with why the machine ended. */
  stop(how: { readonly timeoutMs?: number; readonly kill?: boolean }): Promise<string>;
}
