/** One side of the store-load litmus test of test/unit/virtio/queue/fence.test.ts. A worker of that test. */
import { parentPort, workerData } from 'node:worker_threads';
import { native } from '../../../src/host/addon.js';

export interface LitmusData {
  /** Of one page that both sides wrap for themselves. */
  readonly address: number;
  readonly side: 0 | 1;
  readonly rounds: number;
  /** Two spinning threads on one busy processor take a scheduler's tick for each round. */
  readonly milliseconds: number;
  /** [0] and [1]: the round that each side is ready for; [2]: 1 when side 0 has had enough; [3]: rounds done. */
  readonly gate: SharedArrayBuffer;
  /** What each side saw of the other, per round. */
  readonly seen: SharedArrayBuffer;
}

const { address, side, rounds, milliseconds, gate, seen } = workerData as LitmusData;
const words = new Uint16Array(native().wrapMemory(address, 4096)!);
const ready = new Int32Array(gate);
const results = new Uint8Array(seen);
// On cache lines of their own, as the used index and the avail event are.
const mine = side === 0 ? 0 : 512;
const theirs = side === 0 ? 512 : 0;

const deadline = performance.now() + milliseconds;

litmus: for (let round = 1; round <= rounds; round++) {
  if (side === 0 && performance.now() > deadline) {
    Atomics.store(ready, 2, 1);
    break;
  }
  Atomics.store(ready, side, round);
  while (Atomics.load(ready, 1 - side) < round) if (Atomics.load(ready, 2) === 1) break litmus;
  const value = round & 0xffff;
  Atomics.store(words, mine, value);
  const other = Atomics.load(words, theirs);
  results[(round - 1) * 2 + side] = other === value ? 1 : 0;
  if (side === 0) Atomics.store(ready, 3, round);
}
parentPort!.postMessage('done');
