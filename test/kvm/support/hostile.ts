/** The hostile guest, what it may not do to this process, and the neighbours that must not notice it. */
import type { Warning } from 'tsvmm';
import { expect } from 'vitest';
import { pattern, type Scratch, sectorBytes } from './disks.js';
import { type GuestOptions, startGuest } from './guests.js';
import { expectClean, runClean } from './outcome.js';

export interface Attacked {
  readonly output: string;
  readonly warnings: readonly Warning[];
  readonly seconds: number;
}

let victims = 0;
/** What the hostile guest attacks: a disk, a console and the entropy device. */
export const victimOptions = (scratch: Scratch): GuestOptions => ({
  disks: [scratch.file(`victim-${victims++}.img`, 256 * sectorBytes)],
  console: { device: 'virtio' },
});

/** Runs the hostile guest, which must say that it survived. */
export async function attack(scratch: Scratch, cmdline: string, options: GuestOptions = {}): Promise<Attacked> {
  const warnings: Warning[] = [];
  const vm = await startGuest('hostile', { ...victimOptions(scratch), cmdline, ...options });
  vm.on('warning', (warning) => warnings.push(warning));
  const exit = await vm.exited;
  // What it sends to the virtio console comes in between: dots, and bytes of its own memory.
  const output = exit.consoleTail.replaceAll(/[.\\]|[^\n -~]/g, '');
  expectClean({ output, exit });
  expect(output).toMatch(/^hostile survived: /m);
  expect(output).toContain('end: 3 virtio devices work again');
  return { output, warnings, seconds: exit.uptimeMs / 1000 };
}

/** Every warning blames the driver, and no device has failed; a guest cannot make more of them than a few a second (T38, T56). */
export function expectBounded({ warnings, seconds }: Attacked, cpus = 2): void {
  expect(warnings.filter(({ source }) => source !== 'guest')).toEqual([]);
  for (const { message } of warnings) expect(message).toMatch(/^driver: \S/);
  const reporters = 4 + cpus; // devices on the I/O worker and vCPUs, each 10 a second
  expect(warnings.length).toBeLessThanOrEqual(10 * reporters * (seconds + 2));
}

export interface Neighbour {
  /** Ends it; how often it did its work. */
  stop(): Promise<number>;
}

/** Asks an echo guest again and again. */
export async function conversing(): Promise<Neighbour> {
  const vm = await startGuest('echo');
  await vm.console.waitFor('echo ready');
  let stopped = false;
  const turns = (async () => {
    for (let turn = 1; ; turn++) {
      vm.console.write(`turn ${turn}\n`);
      await vm.console.waitFor(`echo: turn ${turn}\n`, { timeout: '20s' });
      if (stopped) return turn;
    }
  })();
  return {
    async stop() {
      stopped = true;
      const count = await turns.finally(() => vm.console.write('quit\n'));
      const exit = await vm.exited;
      expect(exit).toMatchObject({ reason: 'power-off', debugExit: 0 });
      expect(exit.consoleTail).toMatch(/overruns 0 lost 0/);
      return count;
    },
  };
}

/** Runs guests that write their disk and verify it, one after the other. */
export function computing(scratch: Scratch): Neighbour {
  const path = scratch.file('neighbour.img', pattern(0, 64, 1));
  let stopped = false;
  const turns = (async () => {
    for (let turn = 1; ; turn++) {
      await runClean('virtio-blk', { disks: [path], cmdline: 'tests=verify,write,flush event-index depth=8' });
      if (stopped) return turn;
    }
  })();
  return {
    stop() {
      stopped = true;
      return turns;
    },
  };
}
