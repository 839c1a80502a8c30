/** What libuv's pool makes in our place (native/making.cc): descriptors of namespaces stand for those of KVM. */
import { closeSync, openSync, readdirSync, readlinkSync } from 'node:fs';
import { Worker } from 'node:worker_threads';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { Errno } from '../../../src/host/errno.js';
import { closeFd } from '../../../src/host/system.js';
import { type BusyPool, busyPool } from '../../support/busy-pool.js';

/** ioctl_ns(2). */
const NS_GET_USERNS = 0xb701;
const NS_GET_NSTYPE = 0xb703;
const NS_GET_OWNER_UID = 0xb704;
const file = new URL('../../../build/Release/tsvmm.node', import.meta.url).pathname;
const words = (): Int32Array => new Int32Array(3);
/** Descriptors of them, in this process. */
function userNamespaces(): number {
  const links = readdirSync('/proc/self/fd').map((fd) => {
    try {
      return readlinkSync(`/proc/self/fd/${fd}`);
    } catch {
      return ''; // that of the folder itself
    }
  });
  return links.filter((link) => link.startsWith('user:')).length;
}
let parent: number;
beforeAll(() => {
  parent = openSync('/proc/self/ns/net', 'r');
});
afterAll(() => closeSync(parent));

test('a descriptor, and what is asked of it', async () => {
  const [shared, owner] = [words(), new Uint32Array(1).fill(7)];
  await native().makeLater(parent, [NS_GET_USERNS, 0, NS_GET_OWNER_UID, owner, NS_GET_NSTYPE, 0], shared);
  const [fd, failed] = shared;
  expect(readlinkSync(`/proc/self/fd/${fd}`)).toMatch(/^user:/);
  expect([failed, owner[0]]).toEqual([-1, 0]);
  expect([closeFd(fd!), closeFd(fd!)]).toEqual([0, -Errno.EBADF]);
});

test('the first call that fails ends it', async () => {
  const [shared, owner] = [words(), new Uint32Array(1).fill(7)];
  await native().makeLater(parent, [NS_GET_USERNS, 0, NS_GET_NSTYPE, 0, 0xb7ff, 0, NS_GET_OWNER_UID, owner], shared);
  const [fd, failed, error] = shared;
  expect([failed, error, owner[0]]).toEqual([2, Errno.ENOTTY, 7]);
  expect(closeFd(fd!)).toBe(0);
});

test('no descriptor is -errno, and nothing is asked of it', async () => {
  const [shared, owner] = [words(), new Uint32Array(1).fill(7)];
  await native().makeLater(parent, [0xb7ff, 0, NS_GET_OWNER_UID, owner], shared);
  expect([...shared, owner[0]]).toEqual([-Errno.ENOTTY, -1, 0, 7]);
});

test('more calls than a machine needs are made, too', async () => {
  const [shared, owners] = [words(), Array.from({ length: 40 }, () => new Uint32Array(1).fill(7))];
  await native().makeLater(parent, [NS_GET_USERNS, 0, ...owners.flatMap((owner) => [NS_GET_OWNER_UID, owner])], shared);
  expect(owners.map(([uid]) => uid)).toEqual(owners.map(() => 0));
  expect([native().takeBack(Promise.resolve()), closeFd(shared[0]!)]).toEqual([-Errno.EINVAL, 0]);
});

describe('while all threads of the pool wait for somebody who writes to a pipe', () => {
  let pool: BusyPool;
  beforeEach(() => {
    pool = busyPool();
  });
  afterEach(() => pool.letGo());

  test('what is taken back is not made, and is over', async () => {
    const shared = words();
    const over = native().makeLater(parent, [NS_GET_USERNS, 0], shared);
    expect([native().takeBack(over), native().takeBack(over)]).toEqual([1, 1]);
    await over;
    expect([native().takeBack(over), ...shared]).toEqual([0, -1, -1, 0]);
  });

  test('what nobody takes back is made when they are free', async () => {
    const shared = words();
    const over = native().makeLater(parent, [NS_GET_USERNS, 0], shared);
    await pool.letGo();
    await over;
    expect(native().takeBack(over)).toBe(0);
    expect(closeFd(shared[0]!)).toBe(0);
  });

  test('a worker that has taken everything back ends', async () => {
    const worker = new Worker(
      `const shim = require(${JSON.stringify(file)});
       const makings = Array.from({ length: 20 }, () => shim.makeLater(${parent}, [${NS_GET_USERNS}, 0], new Int32Array(3)));
       require('node:worker_threads').parentPort.postMessage(makings.map((making) => shim.takeBack(making)));
       for (;;);`,
      { eval: true },
    );
    const taken = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    expect(taken).toEqual(new Array(20).fill(1));
    await worker.terminate();
  });
});

test('what is under way in a worker that ends goes with it', async () => {
  for (let i = 0; i < 5; i++) {
    const worker = new Worker(
      `const shim = require(${JSON.stringify(file)});
       for (let i = 0; i < 20; i++) shim.makeLater(${parent}, [${NS_GET_USERNS}, 0], new Int32Array(3));
       require('node:worker_threads').parentPort.postMessage('begun');
       for (;;);`,
      { eval: true },
    );
    await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
    await worker.terminate();
  }
  expect(userNamespaces()).toBe(0);
});
