import { EventEmitter } from 'node:events';
import { expect, test } from 'vitest';
import { VcpuControlMap } from '../../../src/memory/control.js';
import { VcpuHandle } from '../../../src/threads/vcpu-handle.js';
import type { PooledWorker, VcpuPool } from '../../../src/threads/vcpu-pool.js';
import type { VcpuAssignment } from '../../../src/threads/vcpu-protocol.js';

function make() {
  const sent: string[] = [];
  const worker = Object.assign(new EventEmitter(), { postMessage: ({ type }: { type: string }) => sent.push(type) });
  const pooled = { worker, idle: Promise.resolve() } as unknown as PooledWorker;
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
  worker.emit('message', { type: 'created', watch: 2 ** 40, fd: -1, runAddress: 0 });
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
