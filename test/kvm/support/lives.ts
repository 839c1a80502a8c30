/** The guest `life`, which fails if anything of it is lost: started, spoken to, ended. */
import type { VirtualMachine } from 'tsvmm';
import { expect } from 'vitest';
import { type GuestOptions, startGuest } from './guests.js';

export interface Said {
  readonly name: string;
  readonly rounds: number;
  readonly ticks: number;
  readonly entropy: string;
  /** The generation identifier as it was last told, and how often it was. */
  readonly generation: string;
  readonly generations: number;
  /** How often it was told that its host had stopped it. */
  readonly stops: number;
}

/** A hundred of them share the processors of a host that has other work, too. */
const patienceMs = 120_000;

export async function startLife(options: GuestOptions = {}, words = ''): Promise<VirtualMachine> {
  const cpus = options.cpus ?? 1;
  const vm = await startGuest('life', { ...options, cmdline: `cpus=${cpus} ${words}` });
  await vm.console.waitFor('life: begins\n', { timeout: patienceMs });
  return vm;
}

/** Sends a line and waits for the answer to it: nobody else speaks to this machine meanwhile. */
async function answer(vm: VirtualMachine, line: string, pattern: RegExp): Promise<RegExpExecArray> {
  const before = vm.console.tail.length;
  const heard = new Promise<RegExpExecArray>((resolve, reject) => {
    const look = (): void => {
      const match = pattern.exec(vm.console.tail.slice(before));
      if (match === null) return;
      stop();
      resolve(match);
    };
    const timer = setInterval(look, 10);
    const late = setTimeout(() => {
      stop();
      reject(new Error(`${vm.name} does not answer "${line}": ${vm.console.tail.slice(-500)}`));
    }, patienceMs);
    const stop = (): void => {
      clearInterval(timer);
      clearTimeout(late);
    };
    void vm.exited.then(() => setTimeout(look, 10));
  });
  vm.console.write(`${line}\n`);
  return heard;
}

export async function call(vm: VirtualMachine, name: string): Promise<void> {
  await answer(vm, `who ${name}`, new RegExp(`life: now ${name}\\n`));
}

export async function mayJump(vm: VirtualMachine): Promise<void> {
  await answer(vm, 'jump', /life: may jump\n/);
}

export async function say(vm: VirtualMachine): Promise<Said> {
  const [, name, rounds, ticks, entropy, generation, generations, stops] = await answer(
    vm,
    'say',
    /life: (\S+), round (\d+), ticks (\d+), entropy ([0-9a-f]+), generation ([0-9a-f]+) of (\d+), stops (\d+)\n/,
  );
  const numbers = {
    rounds: Number(rounds),
    ticks: Number(ticks),
    generations: Number(generations),
    stops: Number(stops),
  };
  return { name: name!, entropy: entropy!, generation: generation!, ...numbers };
}

/** It ends by itself, content. */
export async function endLife(vm: VirtualMachine): Promise<void> {
  vm.console.write('end\n');
  const { reason, consoleTail, ...rest } = await vm.exited;
  expect({ reason, debugExit: (rest as { debugExit?: number }).debugExit, consoleTail }).toMatchObject({
    reason: 'power-off',
    debugExit: 0,
    consoleTail: expect.stringContaining('life ok'),
  });
}
