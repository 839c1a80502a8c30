import { expect, test } from 'vitest';
import { VcpuPool } from '../../../src/threads/vcpu-pool.js';

const script = (text: string): URL => new URL(`data:text/javascript,${encodeURIComponent(text)}`);
const idles = script(
  "import { parentPort as p } from 'node:worker_threads'; p.on('message', () => {}); p.postMessage({ type: 'idle' });",
);

test('a worker that comes back again and again gathers no listeners', async () => {
  const pool = new VcpuPool(idles);
  const reservation = await pool.reserve(1);
  const pooled = pool.acquire();
  const count = pooled.worker.listenerCount('exit');
  for (let i = 0; i < 12; i++) {
    pool.release(pooled);
    expect(pool.acquire()).toBe(pooled);
  }
  expect(pooled.worker.listenerCount('exit')).toBe(count);
  pool.release(pooled);
  await reservation.release();
});

test('two reservations at once start no more workers than both ask for', async () => {
  const pool = new VcpuPool(idles);
  const [first, second] = await Promise.all([pool.reserve(1), pool.reserve(1)]);
  const taken = [pool.acquire(), pool.acquire()];
  expect(taken.every(({ worker }) => worker.threadId > 0)).toBe(true);
  // Nothing is left over: the next is new, and not up yet.
  const third = pool.acquire();
  expect(await Promise.race([third.idle.then(() => 'up'), Promise.resolve('new')])).toBe('new');
  await third.idle;
  for (const pooled of [...taken, third]) await pooled.worker.terminate();
  await Promise.all([first.release(), second.release()]);
});

test('a worker that dies while others still start is not kept', async () => {
  const pool = new VcpuPool(
    script(`
    import { parentPort, threadId } from 'node:worker_threads';
    const idle = () => parentPort.postMessage({ type: 'idle' });
    const other = new BroadcastChannel('tsvmm-test');
    if (threadId % 2) {
      other.onmessage = () => { idle(); other.postMessage('dying'); setTimeout(() => process.exit(), 1); };
    } else {
      const calling = setInterval(() => other.postMessage('are you there?'), 20);
      other.onmessage = () => { clearInterval(calling); setTimeout(idle, 500); };
    }`),
  );
  const reservation = await pool.reserve(2);
  const first = pool.acquire();
  expect([first.isUp, first.isGone]).toEqual([true, false]);
  const second = pool.acquire(); // a new one
  expect([second.isUp, second.isGone]).toEqual([false, false]);
  pool.release(first);
  pool.release(second); // not up: ended
  await reservation.release();
  await expect(second.idle).rejects.toThrow('ended before it was ready');
});

test('workers that die at once reject the reservation', async () => {
  const pool = new VcpuPool(script("throw new Error('as the test asked')"));
  await expect(pool.reserve(2)).rejects.toThrow('as the test asked');
});
