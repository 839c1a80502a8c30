import { EventEmitter } from 'node:events';
import { expect, test, vi } from 'vitest';
import { VcpuControlMap } from '../../../src/memory/control.js';
import { VcpuHandle } from '../../../src/threads/vcpu-handle.js';
import type { PooledWorker, VcpuPool } from '../../../src/threads/vcpu-pool.js';
import type { VcpuAssignment } from '../../../src/threads/vcpu-protocol.js';

function make({ isUp = true, isGone = false, terminates = true } = {}) {
  const sent: string[] = [];
  const worker = Object.assign(new EventEmitter(), {
    postMessage: ({ type }: { type: string }) => sent.push(type),
    terminate: async () => {
      sent.push('terminate');
      if (terminates) worker.emit('exit', 1);
    },
    unref: () => sent.push('unref'),
  });
  const idle = isUp ? Promise.resolve() : new Promise<void>(() => {});
  const pooled = { worker, idle, isUp, isGone } as unknown as PooledWorker;
  const released: PooledWorker[] = [];
  const pool = { release: (back: PooledWorker) => released.push(back) } as unknown as VcpuPool;
  const control = VcpuControlMap.over(new SharedArrayBuffer(VcpuControlMap.size), 0);
  const handle = new VcpuHandle(0, pool, pooled, control, { warning() {}, failed() {} });
  return { handle, worker, sent, released };
}
const create = (handle: VcpuHandle): Promise<void> => {
  handle.build({} as VcpuAssignment); // only handed on
  return handle.create(7);
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** A handle whose vCPU was there, and has stopped in time. */
async function stopped() {
  const made = make();
  const { handle, worker } = made;
  const created = create(handle);
  worker.emit('message', { type: 'created', watch: 1 });
  await created;
  const stopping = handle.stop();
  await turn();
  worker.emit('message', { type: 'stopped' });
  await stopping;
  return made;
}

test('a vCPU that is stopped while it is made is closed before its worker goes back', async () => {
  const { handle, worker, sent, released } = make();
  const created = create(handle);
  await turn();
  const stopped = handle.stop();
  await turn();
  expect([sent, released]).toEqual([['build', 'create'], []]);
  worker.emit('message', { type: 'created', watch: 1 });
  await created;
  await turn();
  expect([sent, released]).toEqual([['build', 'create', 'close'], []]);
  worker.emit('message', { type: 'stopped' });
  await stopped;
  expect(released).toHaveLength(1);
});

test('a vCPU that cannot be made gives its worker back', async () => {
  const { handle, worker, sent, released } = make();
  const created = create(handle);
  await turn();
  const stopped = handle.stop();
  worker.emit('message', { type: 'failed', error: { code: 'ERR_TSVMM_KVM_IOCTL', message: 'no' } });
  await expect(created).rejects.toThrow('no');
  await stopped;
  expect([sent, released.length]).toEqual([['build', 'create'], 1]);
});

test('a worker that is gone already fails the creation', async () => {
  const { handle } = make({ isGone: true });
  await expect(create(handle)).rejects.toMatchObject({ code: 'ERR_TSVMM_WORKER_DIED' });
  await handle.stop();
});

test('a worker that is still starting is not waited for', async () => {
  const { handle, sent, released } = make({ isUp: false });
  const created = create(handle);
  const refused = expect(created).rejects.toMatchObject({ code: 'ERR_TSVMM_WORKER_DIED' });
  await handle.stop();
  await refused;
  expect([sent, released]).toEqual([['build', 'create', 'terminate'], []]);
});

test('a vCPU that misses its deadline is given up: the program does not wait for it, and hears when it has left', async () => {
  vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
  try {
    const { handle, worker, sent, released } = make({ terminates: false });
    const created = create(handle);
    worker.emit('message', { type: 'created', watch: 1 });
    await created;
    const stopped = handle.stop();
    let left = false;
    const leaving = handle.left().then(() => {
      left = true;
    });
    const refused = expect(stopped).rejects.toMatchObject({ code: 'ERR_TSVMM_TIMEOUT' });
    await vi.advanceTimersByTimeAsync(2000);
    await refused;
    // In this order: `terminate` refers to the worker.
    expect([sent, released]).toEqual([['build', 'create', 'close', 'terminate', 'unref'], []]);
    expect(left).toBe(false);
    worker.emit('exit', 1);
    await leaving;
  } finally {
    vi.useRealTimers();
  }
});

test('a vCPU that stopped in time has left, though its worker lives on', async () => {
  const { handle } = await stopped();
  await handle.left();
});

test('what was built for a machine that could not be made is forgotten before its worker goes back', async () => {
  const { handle, worker, sent, released } = make();
  handle.build({} as VcpuAssignment);
  const stopped = handle.stop();
  await turn();
  expect([sent, released]).toEqual([['build', 'forget'], []]);
  worker.emit('message', { type: 'failed', error: { code: 'ERR_TSVMM_STATE', message: 'no' } }); // of the building
  worker.emit('message', { type: 'stopped' });
  await stopped;
  expect(released).toHaveLength(1);
});

test('what cannot be built fails the creation', async () => {
  const { handle, worker, sent, released } = make();
  handle.build({} as VcpuAssignment);
  worker.emit('message', { type: 'failed', error: { code: 'ERR_TSVMM_STATE', message: 'no' } });
  await expect(handle.create(7)).rejects.toThrow('no');
  await handle.stop();
  expect([sent, released.length]).toEqual([['build', 'create'], 1]);
});

test('orders that come when it has stopped do not reach its worker, which may be another machine’s by then', async () => {
  const { handle, sent, released } = await stopped();
  expect(released).toHaveLength(1);
  const revival = {} as Parameters<VcpuHandle['revive']>[0];
  const late = [handle.enter(), handle.revive(revival), handle.prefault([], false), handle.create(7)];
  for (const one of late) await expect(one).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
  expect(sent).toEqual(['build', 'create', 'close']);
});
