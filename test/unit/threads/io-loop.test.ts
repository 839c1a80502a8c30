import { availableParallelism } from 'node:os';
import { setImmediate } from 'node:timers/promises';
import { expect, test } from 'vitest';
import type { BatchClock } from '../../../src/host/batch-clock.js';
import type { IoClient, IoEngine } from '../../../src/host/engine.js';
import type { IoSlots } from '../../../src/host/engine-slots.js';
import { IoLoop } from '../../../src/threads/io-loop.js';

/** Has something to submit at first and nothing afterwards; Node wants the thread in the second sleep. */
class TwoSleeps implements IoEngine {
  readonly kind = 'io_uring';
  pending = true;
  closed = false;
  glances = 0;
  /** How often anybody had looked at the clock when each sleep began. */
  readonly sleeps: number[] = [];
  #client: IoClient | undefined;
  readonly clock = { stamp: () => void ++this.glances, expire: () => {} } as unknown as BatchClock;

  get behind(): boolean {
    return false;
  }

  claim(client: IoClient): IoSlots {
    this.#client = client;
    return {
      outstanding: 0,
      isBusy: () => false,
      poll() {},
      eventRead() {},
      cancel() {},
      release() {},
    } as unknown as IoSlots;
  }

  turn(wait: boolean): number {
    if (!wait) return 0;
    this.sleeps.push(this.glances);
    if (this.pending) this.pending = false;
    else this.#client!.onCompletion(0, 0);
    return 1;
  }

  close(): void {
    this.closed = true;
  }
}

/** Has copies to make for three turns, and is asked to sleep after them. */
class Behind extends TwoSleeps {
  override pending = false;
  turns = 0;
  turnsBeforeSleep = -1;

  override get behind(): boolean {
    return this.turns < 3;
  }

  override turn(wait: boolean): number {
    if (wait) {
      if (this.turnsBeforeSleep < 0) this.turnsBeforeSleep = this.turns;
      return super.turn(wait);
    }
    this.turns++;
    return 0;
  }
}

test('nothing sleeps, and no driver is asked to ring, while copies are left', async () => {
  const engine = new Behind();
  const loop = new IoLoop(engine, () => {});
  loop.start();
  await setImmediate();
  loop.command({ type: 'end' });
  while (!engine.closed) await setImmediate();
  expect(engine.turnsBeforeSleep).toBe(3);
});

test('only a sleep that submits nothing counts as one: the others tell of the host and not of the driver', async () => {
  const engine = new TwoSleeps();
  const loop = new IoLoop(engine, () => {});
  loop.start();
  await setImmediate();
  loop.command({ type: 'end' });
  while (!engine.closed) await setImmediate();
  const measured = availableParallelism() > 1 ? 1 : 0;
  expect(engine.sleeps).toEqual([0, measured]);
  expect(engine.glances).toBe(2 * measured);
});
