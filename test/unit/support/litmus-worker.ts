/** One side of the store-load litmus test of test/unit/virtio/queue/fence.test.ts. A worker of that test. */
import { parentPort, workerData } from 'node:worker_threads';
import { native } from '../../../src/host/addon.js';

export interface LitmusData {
  /** Of one page that both sides wrap for themselves. */
  readonly address: number;
  readonly side: 0 | 1;
  readonly rounds: number;
  /** [0] and [1]: the round that each side is ready for. */
  readonly gate: SharedArrayBuffer;
  /** What each side saw of the other, per round. */
  readonly seen: SharedArrayBuffer;
}

const { address, side, rounds, gate, seen } = workerData as LitmusData;
const words = new Uint16Array(native().wrapMemory(address, 4096)!);
const ready = new Int32Array(gate);
const results = new Uint8Array(seen);
// On cache lines of their own, as the used index and the avail event are.
const mine = side === 0 ? 0 : 512;
const theirs = side === 0 ? 512 : 0;

for (let round = 1; round <= rounds; round++) {
  Atomics.store(ready, side, round);
  while (Atomics.load(ready, 1 - side) < round);
  const value = round & 0xffff;
  Atomics.store(words, mine, value);
  const other = Atomics.load(words, theirs);
  results[(round - 1) * 2 + side] = other === value ? 1 : 0;
}
parentPort!.postMessage('done');
