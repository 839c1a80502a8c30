/** Machines that are paused and go on, as if nothing had happened but time. */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Disk, type VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { diskBytes, examine, lastRecord } from '../support/records.js';
import { scratchFolder } from './support/disks.js';
import { type GuestOptions, runGuest, startGuest, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();
const slots = 16;

/** One that writes records to its disk, and all that it has printed. */
async function writer(options: GuestOptions = {}, words = '') {
  const path = scratch.file('paused.img', diskBytes(slots)) as string;
  const vm = await startGuest('records', { disks: [path], cmdline: `slots=${slots} ${words}`, ...options });
  const heard = { output: '' };
  vm.console.on('data', (chunk: Buffer) => {
    heard.output += chunk.toString('latin1');
  });
  return { vm, path, heard };
}

const until = async (done: () => boolean): Promise<void> => {
  while (!done()) await delay(2);
};

/** How often any thread of this process but the main one ran. */
const ran = (): number =>
  readdirSync('/proc/self/task')
    .filter((thread) => thread !== String(process.pid))
    .map((thread) => Number(readFileSync(`/proc/self/task/${thread}/schedstat`, 'latin1').split(' ')[0]))
    .reduce((sum, nanoseconds) => sum + nanoseconds, 0);

describe.skipIf(whyNoKvm !== undefined)('a paused machine', () => {
  test.each([
    ['flush', 'pci', 'shared'],
    ['through', 'mmio', 'own'],
  ] as const)(
    'does nothing, and loses no record over a hundred pauses (cache=%s, %s, %s worker)',
    async (cache, transport, ioWorker) => {
      const { vm, path, heard } = await writer({ transport, ioWorker }, `cache=${cache}`);
      await using _ = vm;
      for (let i = 0; i < 100; i++) {
        const before = lastRecord(heard.output);
        await until(() => lastRecord(heard.output) > before);
        await vm.pause();
        expect(vm.state).toBe('paused');
        if (i % 20 === 0) {
          const [disk, { devices }] = [readFileSync(path), vm.metrics()];
          await delay(50);
          expect(readFileSync(path).equals(disk)).toBe(true);
          expect(vm.metrics().devices).toEqual(devices);
        }
        await vm.resume();
        expect(vm.state).toBe('running');
      }
      await vm.kill();
      await until(() => vm.console.readableEnded);
      const last = lastRecord(heard.output);
      expect(examine(readFileSync(path), last).missing).toEqual([]);
    },
  );

  test('that was given up while its I/O worker was still starting goes on', async () => {
    const { vm, heard } = await writer({ ioWorker: 'own' });
    await using _ = vm;
    const controller = new AbortController();
    const pausing = vm.pause({ signal: controller.signal });
    setTimeout(() => controller.abort(new Error('enough')), 2);
    const paused = await pausing.then(
      () => true,
      () => false, // it may have been faster
    );
    if (paused) await vm.resume();
    await until(() => lastRecord(heard.output) > 20);
  });

  test('is none where the timeout is none, in forks and snapshots neither, and the machine runs', async () => {
    const { vm, heard } = await writer();
    await using _ = vm;
    const wrong = { timeout: 'soon' as never };
    for (const refused of [vm.pause(wrong), vm.fork(wrong), vm.snapshot(scratch.path('never'), wrong)])
      await expect(refused).rejects.toMatchObject({ code: 'ERR_TSVMM_CONFIG' });
    expect(vm.state).toBe('running');
    const before = lastRecord(heard.output);
    await until(() => lastRecord(heard.output) > before + 5);
  });

  test('takes no processor', async () => {
    const { vm, heard } = await writer();
    await using _ = vm;
    await until(() => lastRecord(heard.output) > 10);
    await vm.pause();
    await delay(500);
    const before = ran();
    await delay(1000);
    expect((ran() - before) / 1e6).toBeLessThan(50); // ms; of one that runs, a second
    await vm.resume();
  });

  test('with many vCPUs and timers goes on with all of them', async () => {
    for (const guest of ['smp', 'timer'] as const) {
      await using vm = await startGuest(guest, { cpus: guest === 'smp' ? 4 : 1 });
      const ended = vm.exited;
      let isOver = false;
      void ended.then(() => {
        isOver = true;
      });
      while (!isOver) {
        await vm.pause().catch(() => {});
        await vm.resume().catch(() => {});
        await delay(20);
      }
      expect(await ended).toMatchObject({ reason: 'power-off' });
    }
  });

  test('is paused once and resumed once, whoever asks how often', async () => {
    const { vm, heard } = await writer();
    await using _ = vm;
    const states: string[] = [];
    vm.on('state', (to) => states.push(to));
    await until(() => lastRecord(heard.output) > 0);
    await Promise.all([vm.pause(), vm.pause(), vm.pause()]);
    await Promise.all([vm.resume(), vm.resume(), vm.pause(), vm.resume()]);
    expect(states).toEqual(['paused', 'running', 'paused', 'running']);
    await expect(vm.pause({ signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
    const before = lastRecord(heard.output);
    await until(() => lastRecord(heard.output) > before);
  });

  test('can be killed, stopped, looked into, and its disks changed', async () => {
    const killed = await writer();
    await killed.vm.pause();
    expect(await killed.vm.kill()).toMatchObject({ reason: 'killed' });
    await expect(killed.vm.pause()).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
    await expect(killed.vm.resume()).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });

    await using stopped = await startGuest('power-button');
    await stopped.console.waitFor('power-button');
    await stopped.pause();
    expect(await stopped.stop({ timeout: '20s' })).toMatchObject({ reason: 'stopped' });

    const { vm, heard } = await writer({
      disks: [{ path: scratch.file('swapped.img', diskBytes(slots)), removable: true }],
    });
    await using _ = vm;
    await until(() => lastRecord(heard.output) > 0);
    await vm.pause();
    expect(vm.memory.read(0x10_0000, 16)).toHaveLength(16);
    const path = scratch.file('next.img', diskBytes(slots)) as string;
    await vm.disks[0]!.swap(await Disk.open(path));
    await vm.resume();
    const before = lastRecord(heard.output);
    await until(() => lastRecord(heard.output) > before + slots);
    expect(readFileSync(path).some((byte) => byte !== 0)).toBe(true);
  });

  test('that resets again and again is paused all the same', async () => {
    await using vm = await startGuest('hello', { cmdline: 'reset' });
    for (let i = 0; i < 3; i++) {
      await vm.pause();
      expect(vm.state).toBe('paused');
      let reboots = 0;
      const count = (): void => void reboots++;
      vm.on('reboot', count);
      await delay(1500); // it resets within milliseconds, and rests for a second
      expect(reboots).toBe(0);
      await vm.resume();
      await until(() => reboots > 0);
      vm.off('reboot', count);
    }
  });

  test('whose disk does not come to an end runs on, with a reason', async () => {
    let release!: () => void;
    const stuck = new Promise<void>((resolve) => {
      release = resolve;
    });
    const content = Buffer.alloc(diskBytes(slots));
    let writes = 0;
    const disk = Disk.from({
      size: content.length,
      read: (offset, into) => void content.copy(into, 0, offset),
      async write(offset, data) {
        data.copy(content, offset);
        if (++writes === 5) await stuck;
      },
    });
    const { vm, heard } = await writer({ disks: [disk] });
    await using _ = vm;
    await until(() => writes === 5);
    await expect(vm.pause({ timeout: 100 })).rejects.toMatchObject({ code: 'ERR_TSVMM_TIMEOUT' });
    expect(vm.state).toBe('running');
    release();
    await until(() => lastRecord(heard.output) > 20);
    await vm.pause();
    await vm.resume();
  });
});

test.skipIf(whyNoKvm !== undefined)('a guest whose vCPU spins with interrupts off is paused', async () => {
  await using vm: VirtualMachine = await startGuest('spin');
  await vm.pause();
  await vm.resume();
  await vm.pause();
  expect((await runGuest('hello')).exit.reason).toBe('power-off'); // others run meanwhile
});
