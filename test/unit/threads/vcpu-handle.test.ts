import { EventEmitter } from 'node:events';
import { fstatSync, openSync } from 'node:fs';
import { expect, test } from 'vitest';
import { VcpuControlMap } from '../../../src/memory/control.js';
import { VcpuHandle } from '../../../src/threads/vcpu-handle.js';
import { VcpuHoldings } from '../../../src/threads/vcpu-holdings.js';
import type { PooledWorker, VcpuPool } from '../../../src/threads/vcpu-pool.js';
import type { VcpuAssignment } from '../../../src/threads/vcpu-protocol.js';

function make({ isUp = true, isGone = false } = {}) {
  const sent: string[] = [];
  const worker = Object.assign(new EventEmitter(), {
    postMessage: ({ type }: { type: string }) => sent.push(type),
    terminate: async () => {
      sent.push('terminate');
      worker.emit('exit', 1);
    },
  });
  const idle = isUp ? Promise.resolve() : new Promise<void>(() => {});
  const pooled = { worker, idle, isUp, isGone } as unknown as PooledWorker;
  const released: PooledWorker[] = [];
  const pool = { release: (back: PooledWorker) => released.push(back) } as unknown as VcpuPool;
  const control = VcpuControlMap.over(new SharedArrayBuffer(VcpuControlMap.size), 0);
  const handle = new VcpuHandle(0, pool, pooled, control, { warning() {}, failed() {} });
  return { handle, worker, sent, released, control };
}
const assignment = {} as VcpuAssignment; // only handed on
const turn = () => new Promise((resolve) => setImmediate(resolve));

test('a vCPU that is stopped while it is made is closed before its worker goes back', async () => {
  const { handle, worker, sent, released } = make();
  const created = handle.create(assignment);
  await turn();
  const stopped = handle.stop();
  await turn();
  expect([sent, released]).toEqual([['create'], []]);
  worker.emit('message', { type: 'created' });
  await created;
  await turn();
  expect([sent, released]).toEqual([['create', 'close'], []]);
  worker.emit('message', { type: 'stopped' });
  await stopped;
  expect(released).toHaveLength(1);
});

test('a vCPU that cannot be made gives its worker back', async () => {
  const { handle, worker, sent, released } = make();
  const created = handle.create(assignment);
  await turn();
  const stopped = handle.stop();
  worker.emit('message', { type: 'failed', error: { code: 'ERR_TSVMM_KVM_IOCTL', message: 'no' } });
  await expect(created).rejects.toThrow('no');
  await stopped;
  expect([sent, released.length]).toEqual([['create'], 1]);
});

test('a worker that is gone already fails the creation', async () => {
  const { handle } = make({ isGone: true });
  await expect(handle.create(assignment)).rejects.toMatchObject({ code: 'ERR_TSVMM_WORKER_DIED' });
  await handle.stop();
});

test('a worker that is still starting is not waited for', async () => {
  const { handle, sent, released } = make({ isUp: false });
  const created = handle.create(assignment);
  const refused = expect(created).rejects.toMatchObject({ code: 'ERR_TSVMM_WORKER_DIED' });
  await handle.stop();
  await refused;
  expect([sent, released]).toEqual([['create', 'terminate'], []]);
});

test('what a worker had open when it died is closed, whether it had reported or not', async () => {
  const { handle, worker, control } = make();
  const created = handle.create(assignment);
  const refused = expect(created).rejects.toMatchObject({ code: 'ERR_TSVMM_WORKER_DIED' });
  const fd = openSync('/dev/null', 'r');
  new VcpuHoldings(control).set('fd', fd);
  worker.emit('exit', 1);
  await refused;
  await handle.stop();
  expect(() => fstatSync(fd)).toThrow('EBADF');
});

test.each([0, 1, 7, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 0x7fff_1234_5000, 2 ** 53 - 2])(
  'a holding of %d reads as it was written, and none as none',
  (value) => {
    const { control } = make();
    const holdings = new VcpuHoldings(control);
    holdings.set('runAddress', value);
    expect([holdings.get('fd'), holdings.get('runAddress'), holdings.get('watch')]).toEqual([
      undefined,
      value,
      undefined,
    ]);
    holdings.set('runAddress', undefined);
    expect(holdings.get('runAddress')).toBeUndefined();
  },
);
