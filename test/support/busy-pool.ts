/** libuv's thread pool, all of whose threads wait for somebody who writes to a pipe. */
import { execFileSync } from 'node:child_process';
import { closeSync, constants, mkdtempSync, openSync, promises, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** More than the pool has threads, and then some that wait for a thread. */
const manyOpens = 64;

export interface BusyPool {
  readonly isBusy: boolean;
  /** Idempotent. */
  letGo(): Promise<void>;
}

export function busyPool(): BusyPool {
  const folder = mkdtempSync(join(tmpdir(), 'tsvmm-pool-'));
  const fifo = join(folder, 'fifo');
  execFileSync('mkfifo', [fifo]);
  const opening = Array.from({ length: manyOpens }, () => promises.open(fifo, 'r'));
  let isBusy = true;
  void Promise.race(opening).then(() => {
    isBusy = false;
  });
  return {
    get isBusy() {
      return isBusy;
    },
    async letGo() {
      const waiting = opening.splice(0);
      if (waiting.length === 0) return;
      // Both ends (fifo(7)): a writer alone is refused while no thread of the pool has come to its open.
      const writer = openSync(fifo, constants.O_RDWR);
      for (const file of await Promise.all(waiting)) await file.close();
      closeSync(writer);
      rmSync(folder, { recursive: true });
    },
  };
}
