/**
 * What a virtqueue costs by itself: requests of three buffers from a driver on another thread, taken, looked at as
 * virtio-blk does and given back, on our split ring and on a packed one (bench/peers/packed-queue.ts).
 */
import { Worker } from 'node:worker_threads';
import { GuestMemory } from '../src/memory/guest-memory.js';
import type { Chain } from '../src/virtio/queue/chain.js';
import { Pop, SplitQueue } from '../src/virtio/queue/split-queue.js';
import type { VirtioQueueRegisters } from '../src/virtio/registers.js';
import type { Bench } from './harness.js';
import { PackedQueue } from './peers/packed-queue.js';

const size = 256;
const count = 2_000_000;
const warmUp = 200_000;
const places = { ring: 0, avail: 0x1000, used: 0x2000, data: 0x10_0000 } as const;
const ramBytes = 0x40_0000;
/** Chains that the device takes before it gives them back. */
const batch = 16;

type Kind = 'split' | 'packed';

/** Looks at a request as virtio-blk does, and answers it. */
function serve(memory: GuestMemory, chain: Chain): void {
  const header = chain.guest[0]!;
  if (memory.u32(header) !== 0 || memory.u32(header + 12) !== 0) throw new Error('no request');
  memory.u32(header + 8);
  memory.setU8(chain.guest[2]!, 0);
}

function splitDevice(memory: GuestMemory): () => number {
  const registers = {
    frozenSize: size,
    frozenDescHigh: 0,
    frozenDescLow: places.ring,
    frozenDriverHigh: 0,
    frozenDriverLow: places.avail,
    frozenDeviceHigh: 0,
    frozenDeviceLow: places.used,
    nextAvail: 0,
    nextUsed: 0,
    signalledUsed: 0,
    signalledUsedValid: 0,
  } as VirtioQueueRegisters;
  const queue = SplitQueue.open(registers, memory, { indirect: true, eventIndex: true, maxChain: size });
  if (typeof queue === 'string') throw new Error(queue);
  return () => {
    let taken = 0;
    for (; taken < batch && queue.pop() === Pop.chain; taken++) {
      serve(memory, queue.chain);
      queue.push(queue.chain.head, 4097);
    }
    if (queue.violation !== undefined) throw new Error(queue.violation);
    queue.publish();
    return taken;
  };
}

function packedDevice(memory: GuestMemory): () => number {
  const queue = new PackedQueue(memory, memory.view(places.ring, size * 16)!, size);
  return () => {
    let taken = 0;
    for (; taken < batch && queue.pop(); taken++) {
      serve(memory, queue.chain);
      queue.push(queue.chain.head, 4097);
    }
    return taken;
  };
}

/** Nanoseconds a request. */
async function run(kind: Kind, depth: number): Promise<number> {
  const shared = new SharedArrayBuffer(ramBytes);
  const regions = [{ start: 0, size: ramBytes, hostAddress: 0x1000 }];
  const memory = new GuestMemory(regions, () => shared as unknown as ArrayBuffer);
  const device = kind === 'split' ? splitDevice(memory) : packedDevice(memory);
  const driver = new Worker(new URL('../../bench/ring-driver.js', import.meta.url), {
    workerData: { memory: shared, kind, size, depth, count, places },
  });
  const ended = new Promise<void>((resolve, reject) => {
    driver.once('error', reject);
    driver.once('exit', () => resolve());
  });
  await new Promise((resolve) => driver.once('online', resolve));
  let done = 0;
  while (done < warmUp) done += device();
  const started = performance.now();
  const from = done;
  while (done < count) done += device();
  const elapsed = performance.now() - started;
  await ended;
  return (elapsed * 1e6) / (count - from);
}

export const bench: Bench = {
  name: 'ring',
  summary: 'a request on our split virtqueue, against a packed one',
  cases: () =>
    [1, 32].map((depth) => ({
      name: `request-qd${depth}`,
      unit: 'ns',
      ours: () => run('split', depth),
      peer: { name: 'packed ring', measure: () => run('packed', depth) },
      runs: 9,
    })),
};
