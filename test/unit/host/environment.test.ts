/** What an environment holds is given back when it ends, whatever it was doing, and once. */
import { readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { closeFd, eventFd } from '../../../src/host/system.js';

const file = new URL('../../../build/Release/tsvmm.node', import.meta.url).pathname;

/** A worker that holds things, says which, and then spins until it is terminated. */
async function hold(body: string): Promise<{ held: number[]; end(): Promise<unknown> }> {
  const worker = new Worker(
    `const shim = require(${JSON.stringify(file)});
     const eventFd = () => shim.openFd(290, 0, 0o2004000);
     require('node:worker_threads').parentPort.postMessage((() => { ${body} })());
     for (;;);`,
    { eval: true },
  );
  const held = await new Promise<number[]>((resolve, reject) => worker.once('message', resolve).once('error', reject));
  return { held, end: () => worker.terminate() };
}

const isEventFd = (fd: number): boolean => {
  try {
    return readlinkSync(`/proc/self/fd/${fd}`) === 'anon_inode:[eventfd]';
  } catch {
    return false;
  }
};

test('descriptors, mappings and guard slots of a worker go with it', async () => {
  const { held, end } = await hold(`
    const fds = [eventFd(), eventFd()];
    const address = shim.mapMemory(8192, 3, 0x22, -1, 0, 0);
    shim.wrapMemory(address, 4096);
    return [...fds, address, shim.guard(address, 8192, 4096, address, -1)];`);
  const [first, second, address, slot] = held as [number, number, number, number];
  expect([isEventFd(first), isEventFd(second), native().memoryHolders(address)]).toEqual([true, true, 2]);
  await end();
  expect([isEventFd(first), isEventFd(second), native().memoryHolders(address)]).toEqual([false, false, 0]);
  const mine = native().mapMemory(4096, 3, 0x22, -1, 0, 0);
  const again = native().guard(mine, 4096, 4096, mine, -1);
  expect(again).toBeLessThanOrEqual(slot); // the first free one
  expect([native().unguard(again), native().releaseMemory(mine)]).toEqual([0, 0]);
});

test('what was given back before, and what others hold, stays as it is', async () => {
  const { held, end } = await hold(`
    const [closed, given, kept] = [eventFd(), eventFd(), eventFd()];
    const address = shim.mapMemory(4096, 3, 0x22, -1, 0, 0);
    shim.closeFd(closed);
    shim.giveFd(given);
    return [closed, given, kept, address];`);
  const [closed, given, kept, address] = held as [number, number, number, number];
  const mine: number[] = []; // one of them gets the number of the closed one
  while (!mine.includes(closed) && mine.length < 64) mine.push(eventFd());
  expect(mine).toContain(closed);
  const view = native().wrapMemory(address, 4096)!;
  await end();
  expect([isEventFd(closed), isEventFd(given), isEventFd(kept)]).toEqual([true, true, false]);
  expect(native().memoryHolders(address)).toBe(1); // our view
  native().detach(view);
  for (const fd of [...mine, given]) expect(closeFd(fd)).toBe(0);
});

test('nobody gives back twice, nor what is another’s', async () => {
  const { held, end } = await hold('return [shim.mapMemory(4096, 3, 0x22, -1, 0, 0)];');
  expect(native().releaseMemory(held[0]!)).toBe(-22);
  await end();
  const address = native().mapMemory(4096, 3, 0x22, -1, 0, 0);
  const slot = native().guard(address, 4096, 4096, address, -1);
  expect([native().unguard(slot), native().unguard(slot)]).toEqual([0, -22]);
  expect([native().releaseMemory(address), native().releaseMemory(address)]).toEqual([0, -22]);
  expect(native().giveFd(1)).toBe(-2);
});

test('a descriptor is closed on another thread, and not again at the end', async () => {
  const fd = eventFd();
  const closing = native().closeFdLater(fd);
  await closing;
  expect(isEventFd(fd)).toBe(false);
  // In a worker that ends while its closing is under way.
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 5; i++) {
    const { end } = await hold('for (let i = 0; i < 20; i++) shim.closeFdLater(eventFd()); return [];');
    await end();
  }
  expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 1);
});
