/** Changes of disks and what a machine does meanwhile: powers on, resets, ends. */
import { expect, test } from 'vitest';
import type { Disk } from '../../../src/machine/disk.js';
import { DiskChanges } from '../../../src/machine/disk-changes.js';
import type { MediumChange } from '../../../src/machine/disk-host.js';
import type { PowerCycle } from '../../../src/machine/power-cycle.js';

const disk = { drive: { limit: undefined } } as unknown as Disk;
const aMoment = (): Promise<void> => new Promise((resolve) => setImmediate(resolve));

/** A change that says what becomes of it. */
function change(signal?: AbortSignal): MediumChange & { readonly log: string[] } {
  const log: string[] = [];
  return {
    log,
    signal,
    syncs: false,
    isTold: true,
    prepare: async () => {
      log.push('prepare');
      return undefined;
    },
    commit: () => void log.push('commit'),
  };
}

function machine() {
  const now: { powering?: Promise<unknown> | undefined; cycle?: unknown; ending?: string | undefined } = {};
  const changes = new DiskChanges({
    poweringOn: () => now.powering,
    cycle: () => now.cycle as PowerCycle | undefined,
    ending: () => now.ending,
  });
  return { now, changes, host: changes.host(0, disk) };
}

test('a power-on is waited for, and nothing of it is changed from its beginning on', async () => {
  const { now, changes, host } = machine();
  let powered!: () => void;
  now.powering = new Promise<void>((resolve) => {
    powered = resolve;
  });
  const asked = change();
  const done = host.change(asked);
  await aMoment();
  expect(asked.log).toEqual([]);
  powered();
  await now.powering;
  now.powering = aMoment(); // the next begins before anybody else hears of the end of the first
  await now.powering;
  expect(asked.log).toEqual([]);
  now.powering = undefined;
  await done;
  expect(asked.log).toEqual(['prepare', 'commit']);
  await changes.settled;
});

test('what is done in a power cycle that is closed is waited for, and done again in the next', async () => {
  const { now, changes, host } = machine();
  let fail!: (error: Error) => void;
  const cycle = {
    isClosing: false,
    changeDisk: () => new Promise<void>((_, reject) => (fail = reject)),
    close: async () => {},
  };
  now.cycle = cycle;
  const asked = change();
  const done = host.change(asked);
  await aMoment();
  let isSettled = false;
  const settled = changes.settled.then(() => {
    isSettled = true;
  });
  cycle.isClosing = true;
  now.cycle = undefined;
  await aMoment();
  expect(isSettled).toBe(false);
  fail(new Error('overtaken'));
  await settled;
  await done;
  expect(asked.log).toEqual(['prepare', 'commit']);
});

test('it is none for a machine that ends, nor when its signal has aborted', async () => {
  const { now, host } = machine();
  const aborted = change(AbortSignal.abort(new Error('no')));
  await expect(host.change(aborted)).rejects.toThrow('no');
  now.powering = new Promise(() => {});
  const controller = new AbortController();
  const waiting = change(controller.signal);
  const waited = host.change(waiting);
  controller.abort(new Error('not any more'));
  await expect(waited).rejects.toThrow('not any more');
  now.ending = 'stopping';
  const late = change();
  await expect(host.change(late)).rejects.toThrow(/is stopping/);
  expect([aborted.log, waiting.log, late.log]).toEqual([[], [], []]);
});
