/** What libuv's pool makes in our place (native/making.cc): descriptors of namespaces stand for those of KVM. */
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { Errno } from '../../../src/host/errno.js';
import { closeFd } from '../../../src/host/system.js';

/** ioctl_ns(2). */
const NS_GET_USERNS = 0xb701;
const NS_GET_NSTYPE = 0xb703;
const NS_GET_OWNER_UID = 0xb704;
const file = new URL('../../../build/Release/tsvmm.node', import.meta.url).pathname;
const words = (): Int32Array => new Int32Array(new SharedArrayBuffer(16));
let parent: number;
beforeAll(() => {
  parent = openSync('/proc/self/ns/net', 'r');
});
afterAll(() => closeSync(parent));

test('a descriptor, and what is asked of it', async () => {
  const [shared, owner] = [words(), new Uint32Array(1).fill(7)];
  await native().makeLater(parent, [NS_GET_USERNS, 0, NS_GET_OWNER_UID, owner, NS_GET_NSTYPE, 0], shared);
  const [taken, fd, failed] = shared;
  expect(readlinkSync(`/proc/self/fd/${fd}`)).toMatch(/^user:/);
  expect([taken, failed, owner[0]]).toEqual([1, -1, 0]);
  expect([closeFd(fd!), closeFd(fd!)]).toEqual([0, -Errno.EBADF]);
});

test('the first call that fails ends it', async () => {
  const [shared, owner] = [words(), new Uint32Array(1).fill(7)];
  await native().makeLater(parent, [NS_GET_USERNS, 0, NS_GET_NSTYPE, 0, 0xb7ff, 0, NS_GET_OWNER_UID, owner], shared);
  const [, fd, failed, error] = shared;
  expect([failed, error, owner[0]]).toEqual([2, Errno.ENOTTY, 7]);
  expect(closeFd(fd!)).toBe(0);
});

test('no descriptor is -errno, and nothing is asked of it', async () => {
  const [shared, owner] = [words(), new Uint32Array(1).fill(7)];
  await native().makeLater(parent, [0xb7ff, 0, NS_GET_OWNER_UID, owner], shared);
  expect([...shared, owner[0]]).toEqual([1, -Errno.ENOTTY, -1, 0, 7]);
});

test('what is taken back before the pool has begun is not made', async () => {
  const before = readdirSync('/proc/self/fd').length;
  const shared = words();
  const over = native().makeLater(parent, [NS_GET_USERNS, 0], shared);
  // One of both has it; who has lost makes nothing.
  const isOurs = Atomics.compareExchange(shared, 0, 0, 2) === 0;
  await over;
  expect(isOurs ? [...shared.subarray(0, 2)] : shared[0]).toEqual(isOurs ? [2, -1] : 1);
  if (!isOurs) closeFd(shared[1]!);
  expect(readdirSync('/proc/self/fd').length).toBe(before);
});

test('what is under way in a worker that ends goes with it', async () => {
  const before = readdirSync('/proc/self/fd').length;
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(
      `const shim = require(${JSON.stringify(file)});
       for (let i = 0; i < 20; i++)
         shim.makeLater(${parent}, [${NS_GET_USERNS}, 0], new Int32Array(new SharedArrayBuffer(16)));
       require('node:worker_threads').parentPort.postMessage('begun');
       for (;;);`,
      { eval: true },
    );
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    await worker.terminate();
  }
  expect(readdirSync('/proc/self/fd').length).toBeLessThanOrEqual(before + 1);
});
