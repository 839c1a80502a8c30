/** Both I/O engines, for tests that must pass on each. */
import { Worker } from 'node:worker_threads';
import { afterAll, beforeAll, test } from 'vitest';
import type { IoClient, IoEngine } from '../../../src/host/engine.js';
import { EpollEngine } from '../../../src/host/epoll-engine.js';
import { errnoName } from '../../../src/host/errno.js';
import { IoUringEngine } from '../../../src/host/io-uring.js';
import { bundle } from './bundle.js';

export const engineKinds = ['io_uring', 'epoll'] as const;

/** Why this host has no io_uring, if so. */
export const ioUringMissing = ((): string | undefined => {
  const engine = IoUringEngine.open(64);
  if (typeof engine === 'number') return `io_uring: ${errnoName(engine)}`;
  engine.close();
  return undefined;
})();

export interface TestEngine {
  readonly engine: IoEngine;
  /** Helper threads that were started. */
  readonly helpers: Worker[];
  close(): Promise<void>;
}

export async function testEngine(kind: (typeof engineKinds)[number], capacity = 1024): Promise<TestEngine> {
  const helpers: Worker[] = [];
  if (kind === 'io_uring') {
    const engine = IoUringEngine.open(capacity * 2);
    if (typeof engine === 'number') throw new Error(errnoName(engine));
    return { engine, helpers, close: async () => engine.close() };
  }
  const helper = await bundle('src/threads/io-helper.ts');
  const engine = new EpollEngine((channel, onDeath) => {
    const worker = new Worker(helper.url, { workerData: { channel } });
    worker.once('error', () => {});
    worker.once('exit', (code) => {
      if (code !== 0) onDeath();
    });
    helpers.push(worker);
  }, capacity);
  const close = async () => {
    engine.close();
    await Promise.all(
      helpers.map((worker) => worker.threadId < 0 || new Promise((resolve) => worker.once('exit', resolve))),
    );
    helper.remove();
  };
  return { engine, helpers, close };
}

/** For a `describe` block: an engine from its beginning to its end, and `test` for what needs one, skipped where the host has none. */
export function engineFor(kind: (typeof engineKinds)[number], capacity?: number) {
  const isMissing = kind === 'io_uring' && ioUringMissing !== undefined;
  let held: TestEngine | undefined;
  beforeAll(async () => {
    if (!isMissing) held = await testEngine(kind, capacity);
  });
  afterAll(() => held?.close());
  return { maybe: test.skipIf(isMissing), engine: (): IoEngine => held!.engine };
}

/** A client that keeps what it is told. */
export class Recorder implements IoClient {
  readonly completions: [slot: number, result: number][] = [];
  /** Called for each, after it was recorded. */
  after: ((slot: number, result: number) => void) | undefined;

  onCompletion(slot: number, result: number): void {
    this.completions.push([slot, result]);
    this.after?.(slot, result);
  }
}

/** Turns until `count` completions were recorded. */
export function turnUntil(engine: IoEngine, recorder: Recorder, count: number): void {
  for (let turns = 0; recorder.completions.length < count; turns++) {
    if (turns > 100_000) throw new Error(`${recorder.completions.length} of ${count} completions came`);
    engine.turn(true);
  }
}
