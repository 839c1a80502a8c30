/**
 * A guest that does random things to the whole machine from several vCPUs at once, over both transports: ports, memory
 * without RAM, PCI configuration, MSI-X tables, registers and live rings (test/guests/hostile/fuzz.h). Beside it machines of
 * the same process do work whose results are checked. What failed is repeated by its seed and transport.
 */
import { spawn } from 'node:child_process';
import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import type { VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { full } from '../support/effort.js';
import { scratchFolder, sectorBytes } from './support/disks.js';
import { guestFile, holdings, startGuest, whyNoKvm } from './support/guests.js';
import { attack, computing, conversing, expectBounded, victimOptions } from './support/hostile.js';

const scratch = scratchFolder();
const rounds = full ? 40 : 2;
const iterations = full ? 1000 : 80;
const transports = ['pci', 'mmio'] as const;
type Transport = (typeof transports)[number];
/** Thousands of exits each: a busy host needs its time. */
const timeout = full ? 1_800_000 : 180_000;

/** Runs the guest once; it must have got through all its rounds. */
async function fuzz(transport: Transport, seed: number, cpus: number): Promise<void> {
  const cmdline = `parts=fuzz seed=${seed} rounds=${rounds} iterations=${iterations}`;
  const attacked = await attack(scratch, cmdline, { transport, cpus });
  expect(attacked.output).toContain(`fuzz: round ${rounds} of ${rounds}, 3 virtio devices work again\n`);
  const counts = /fuzz: (\d) cpus: (\d+) ports, (\d+) memory, (\d+) configuration, (\d+) registers, (\d+) starts/;
  const [, ran, ...done] = counts.exec(attacked.output)!.map(Number);
  expect(ran).toBe(cpus);
  expect(done.every((count, i) => count > 0 || (i === 2 && transport === 'mmio'))).toBe(true);
  expect(attacked.warnings.length).toBeGreaterThan(5);
  expectBounded(attacked, cpus);
}

/** Descriptors and threads are those of before; memory has not grown by what a guest could make it grow. */
async function expectNothingLeft(before: { fds: number; threads: number; rss: number }): Promise<void> {
  await expect.poll(() => holdings().fds, { timeout: 5000 }).toBeLessThanOrEqual(before.fds + 1);
  await expect.poll(() => holdings().threads, { timeout: 5000 }).toBeLessThanOrEqual(before.threads + 1);
  expect(process.memoryUsage.rss() - before.rss).toBeLessThan(300 * 2 ** 20);
}
const now = (): { fds: number; threads: number; rss: number } => ({ ...holdings(), rss: process.memoryUsage.rss() });

let warm: Promise<unknown> | undefined;
/** What is kept for the next machine of its shape is there afterwards. */
function warmUp(): Promise<unknown> {
  warm ??= Promise.all(transports.map((transport) => attack(scratch, 'parts=none', { transport, cpus: 2 })));
  return warm;
}

describe.skipIf(whyNoKvm !== undefined)('a guest that does random things to its machine', { timeout }, () => {
  test.each([
    ['fixed', 1],
    ['random', randomInt(2 ** 31)],
  ])('breaks nothing, and its neighbours do not notice (%s seed %i)', async (kind, seed) => {
    if (kind === 'random') console.log(`fuzz guests: seed ${seed}`);
    const neighbours = [await conversing(), computing(scratch)];
    await Promise.all(transports.map((transport) => fuzz(transport, seed, full ? 4 : 2)));
    for (const neighbour of neighbours) expect(await neighbour.stop()).toBeGreaterThan(0);
  });

  test('ends as a guest does or by a kill when it spares itself nothing, and leaves nothing', async () => {
    await warmUp();
    const before = now();
    const neighbour = await conversing();
    const started = full ? 20 : 1;
    for (let seed = 1; seed <= started; seed++) {
      const ends = transports.map(async (transport) => {
        const cmdline = `parts=fuzz wild seed=${seed} rounds=1000 iterations=1000`;
        const vm = await startGuest('hostile', { ...victimOptions(scratch), transport, cpus: 2, cmdline });
        await Promise.race([vm.exited, sleep(full ? 5000 : 1500)]);
        const exit = await vm.kill();
        expect(['killed', 'power-off', 'panic', 'error']).toContain(exit.reason);
        if (exit.reason === 'error') expect(exit.error.code).toBe('ERR_TSVMM_GUEST');
      });
      await Promise.all(ends);
    }
    expect(await neighbour.stop()).toBeGreaterThan(0);
    await expectNothingLeft(before);
  });
});

describe.skipIf(whyNoKvm !== undefined)('a guest that only resets its devices', { timeout }, () => {
  const resets = (transport: Transport, options = {}): Promise<VirtualMachine> =>
    startGuest('hostile', { ...victimOptions(scratch), transport, cpus: 2, cmdline: 'parts=resets', ...options });

  /** Ends of a machine, whatever its vCPUs wait for at that moment; a reset over MMIO holds the vCPU until it is over. */
  test.each(transports)('T51: can be ended at any moment (%s)', async (transport) => {
    await warmUp();
    const before = now();
    const ends: ((vm: VirtualMachine, controller: AbortController) => unknown)[] = [
      (vm) => vm.kill(),
      (_, controller) => controller.abort(),
      (vm) => vm[Symbol.asyncDispose](),
    ];
    const machines = ends.map(async (end, i) => {
      const controller = new AbortController();
      const vm = await resets(transport, { signal: controller.signal });
      await vm.console.waitFor('resets: 2 cpus', { timeout: '60s' });
      await sleep(10 * i);
      await end(vm, controller);
      expect((await vm.exited).reason).toMatch(/^(killed|aborted)$/);
    });
    await Promise.all(machines);
    await expectNothingLeft(before);
  });

  test.each(transports)('T51: parks all its vCPUs when one of them resets the machine (%s)', async (transport) => {
    const vm = await resets(transport, { cmdline: 'parts=resets reboot=20' });
    let reboots = 0;
    const enough = new Promise<void>((resolve) => {
      vm.on('reboot', () => {
        if (++reboots === 2) resolve();
      });
    });
    await Promise.race([enough, vm.exited]);
    expect(await vm.kill()).toMatchObject({ reason: 'killed' });
    expect(reboots).toBeGreaterThanOrEqual(2);
  });

  test('T51: does not keep its process from looking at itself, nor from ending', async () => {
    const program = `
      import { VirtualMachine } from 'tsvmm';
      const boot = { kernel: ${JSON.stringify(guestFile('hostile'))}, cmdline: 'parts=resets' };
      const disks = [${JSON.stringify(scratch.file('child.img', 256 * sectorBytes))}];
      const vm = await VirtualMachine.start({ memory: '64M', cpus: 2, transport: 'mmio', disks, boot });
      await vm.console.waitFor('resets: 2 cpus', { timeout: '60s' });
      for (let i = 0; i < 5; i++) console.log(process.report.getReport().workers.length > 1);
      process.exit(3);`;
    const child = spawn(process.execPath, ['--input-type=module', '-e', program], {
      cwd: join(import.meta.dirname, '../..'),
      env: { PATH: process.env['PATH'] },
      stdio: ['ignore', 'pipe', 'inherit'],
    });
    const stuck = setTimeout(() => child.kill('SIGKILL'), 120_000);
    const output = text(child.stdout);
    const [code, signal] = await once(child, 'close');
    clearTimeout(stuck);
    expect([code, signal, await output]).toEqual([3, null, 'true\n'.repeat(5)]);
  });
});
