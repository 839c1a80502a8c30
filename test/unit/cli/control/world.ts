/** A fake machine that is reachable, and clients of it that say what a test wants. */
import { once } from 'node:events';
import { createConnection, type Socket } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';
import { Control } from '../../../../src/cli/control/control.js';
import { Forks } from '../../../../src/cli/control/forks.js';
import { placeOf, runtimeDirectory } from '../../../../src/cli/control/runtime-directory.js';
import { Ending } from '../../../../src/cli/ending.js';
import { FakeMachine } from '../fake-machine.js';

export interface World {
  readonly control: Control;
  readonly machine: FakeMachine;
  readonly ending: Ending;
  readonly forks: Forks;
  /** What the ending of the command did. */
  readonly steps: string[];
  start(): void;
}

export const socketOf = (name: string): string => placeOf(runtimeDirectory(), name).socket;

/** A machine of that name, started unless `start` is false; gone when `use` has come to its end. */
export async function withMachine(
  name: string,
  use: (world: World) => Promise<void>,
  { start = true }: { start?: boolean } = {},
): Promise<void> {
  const steps: string[] = [];
  const ending = new Ending({
    onStep: (step, cause) => steps.push(`${step} ${cause}`),
    exitNow: (code) => steps.push(`exit ${code}`),
  });
  const forks = new Forks({
    ending,
    stopTimeoutMs: 60_000,
    say: (text) => steps.push(text),
    warn: (text) => steps.push(text),
    onStep: (fork, step, cause) => steps.push(`${fork} ${step} ${cause}`),
    exitNow: (code) => steps.push(`exit ${code}`),
  });
  const control = await Control.open({ name, memory: 64 << 20, cpus: 2, ending, forks });
  const machine = new FakeMachine({ name });
  machine.console.on('data', (chunk: Buffer) => control.consoles.show(chunk));
  const world: World = {
    control,
    machine,
    ending,
    forks,
    steps,
    start() {
      ending.attach(machine, 60_000);
      control.started(machine);
      void machine.exited.then((exit) => {
        ending.over();
        control.ended(exit.reason);
      });
    },
  };
  if (start) world.start();
  try {
    await use(world);
  } finally {
    ending.over();
    await control.close();
    await forks.ended();
  }
}

export async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(2);
}

/** Sends bytes, and keeps what comes. */
export class RawClient {
  readonly socket: Socket;
  text = '';
  isClosed = false;

  private constructor(socket: Socket) {
    this.socket = socket;
    socket
      .on('error', () => {})
      .on('close', () => {
        this.isClosed = true;
      });
    socket.on('data', (chunk: Buffer) => {
      this.text += chunk.toString('latin1');
    });
  }

  static async connect(name: string): Promise<RawClient> {
    const socket = createConnection({ path: socketOf(name), allowHalfOpen: true });
    const client = new RawClient(socket);
    await once(socket, 'connect');
    return client;
  }

  /** The lines that have come, without the first one, which is hello. */
  get answers(): Record<string, Record<string, unknown>>[] {
    return this.text
      .split('\n')
      .slice(1, -1)
      .map((line) => JSON.parse(line));
  }

  async answered(count: number): Promise<Record<string, Record<string, unknown>>> {
    await until(() => this.answers.length >= count || this.isClosed);
    return this.answers[count - 1]!;
  }
}
