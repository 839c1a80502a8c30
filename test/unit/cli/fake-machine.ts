/** A machine without KVM: a console that the test writes to and reads from, and an end that the test decides. */
import { EventEmitter } from 'node:events';
import { Duplex } from 'node:stream';
import type { Machine, StartMachine } from '../../../src/cli/machine.js';
import type { Phase } from '../../../src/errors.js';
import type { ExitReason, VmExit } from '../../../src/machine/exit.js';
import type { VmOptions } from '../../../src/machine/options.js';

export class FakeConsole extends Duplex {
  typed = '';
  sizes: [number, number][] = [];
  /** Keeps what is written back, so that the writer sees backpressure. */
  stuck = false;
  #release: (() => void) | undefined;

  override _read(): void {}
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.typed += chunk.toString('latin1');
    if (this.stuck) this.#release = done;
    else done();
  }
  tail = '';
  show(text: string): void {
    this.tail += text;
    this.push(text);
  }
  release(): void {
    this.stuck = false;
    this.#release?.();
  }
  resize(columns: number, rows: number): void {
    this.sizes.push([columns, rows]);
  }
}

export class FakeMachine extends EventEmitter implements Machine {
  readonly id = 'vm-1';
  readonly name: string;
  readonly options: VmOptions;
  state = 'running';
  readonly phases: Phase[] = [{ name: 'open disks', startMs: 0, durationMs: 1.5 }];
  readonly console = new FakeConsole();
  readonly exited: Promise<VmExit>;
  readonly calls: string[] = [];
  readonly exits: Record<string, number> = {};
  stopTimeout = 0;
  /** What stop() does; by default the guest powers off. */
  onStop: () => void = () => this.end({ reason: 'power-off' });
  #resolve!: (exit: VmExit) => void;

  constructor(options: VmOptions) {
    super();
    this.options = options;
    this.name = options.name ?? 'vm';
    this.exited = new Promise((resolve) => {
      this.#resolve = resolve;
    });
  }

  end(exit: ExitReason & { consoleTail?: string }): void {
    this.console.push(null);
    this.#resolve({ consoleTail: 'tail', uptimeMs: 12, ...exit } as VmExit);
  }
  metrics(): { exits: Record<string, number> } {
    return { exits: { ...this.exits } };
  }
  stop({ timeout }: { timeout: number }): Promise<VmExit> {
    this.calls.push('stop');
    this.stopTimeout = timeout;
    this.onStop();
    return this.exited;
  }
  async pause(): Promise<void> {
    this.calls.push('pause');
    this.#moveTo('paused');
  }
  async resume({ clock }: Parameters<Machine['resume']>[0]): Promise<void> {
    this.calls.push(clock === undefined ? 'resume' : `resume ${clock}`);
    this.#moveTo('running');
  }
  /** What was asked for; the test says what comes of it. */
  onSnapshot: Machine['snapshot'] = () => Promise.reject(new Error('no snapshot'));
  snapshot(...given: Parameters<Machine['snapshot']>): ReturnType<Machine['snapshot']> {
    this.calls.push(`snapshot ${given[0]}`);
    return this.onSnapshot(...given);
  }
  readonly forks: FakeMachine[] = [];
  async fork({ names = [], clock }: Parameters<Machine['fork']>[0]): Promise<FakeMachine[]> {
    this.calls.push(`fork ${names.join(',')}${clock === undefined ? '' : ` ${clock}`}`);
    const made = names.map((name) => new FakeMachine({ ...this.options, name }));
    this.forks.push(...made);
    return made;
  }
  #moveTo(state: string): void {
    const from = this.state;
    this.state = state;
    this.emit('state', state, from);
  }
  kill(): Promise<VmExit> {
    this.calls.push('kill');
    this.end({ reason: 'killed' });
    return this.exited;
  }
}

/** A `start` whose machines the test gets hold of. */
export function fakeStart(onStart?: (machine: FakeMachine) => unknown): {
  start: StartMachine;
  machines: FakeMachine[];
} {
  const machines: FakeMachine[] = [];
  const start: StartMachine = async (options) => {
    const machine = new FakeMachine(options);
    machines.push(machine);
    if (onStart) setImmediate(() => onStart(machine));
    return machine;
  };
  return { start, machines };
}
