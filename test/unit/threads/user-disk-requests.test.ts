/** What the functions of a user's disk may do, and what becomes of their requests. */
import { setTimeout as delay } from 'node:timers/promises';
import { describe, expect, test } from 'vitest';
import { UserOperation } from '../../../src/disk/user-channel.js';
import type { UserDiskFacts, UserDiskFunctions } from '../../../src/disk/user-disk.js';
import type { RequestFailure } from '../../../src/threads/user-disk-request.js';
import { DiskRequests } from '../../../src/threads/user-disk-requests.js';

const facts: UserDiskFacts = {
  size: 1 << 20,
  blockSize: undefined,
  readOnly: false,
  concurrency: 2,
  timeout: 10_000,
  flushes: true,
  discards: true,
  zeroes: true,
};

interface Ended {
  failure: RequestFailure | undefined;
  bytes: Buffer | undefined;
}

function serve(functions: Partial<UserDiskFunctions>, other: Partial<UserDiskFacts> = {}) {
  const warnings: { message: string; cause: unknown }[] = [];
  const requests = new DiskRequests(
    { facts: { ...facts, ...other }, functions: { read: () => {}, ...functions } },
    (message, _suppressed, cause) => void warnings.push({ message, cause }),
  );
  let count = 0;
  const ask = (operation: keyof typeof UserOperation, offset = 0, length = 512) => {
    let over!: (ended: Ended) => void;
    const ended = new Promise<Ended>((resolve) => {
      over = resolve;
    });
    const request = requests.add({
      operation: UserOperation[operation],
      offset,
      length,
      data: () => Buffer.alloc(length, 7),
      ended: (failure, bytes) => {
        count++;
        over({ failure, bytes: bytes && Buffer.from(bytes) });
      },
    });
    return { request, ended };
  };
  return { requests, warnings, ask, count: () => count };
}

const never = (): Promise<void> => new Promise(() => {});

describe('a read', () => {
  test.each<[string, UserDiskFunctions['read']]>([
    ['fills its buffer', (_offset, into) => void into.fill(5)],
    ['fills its buffer later', async (_offset, into) => void into.fill(5)],
    ['answers with bytes', () => new Uint8Array(512).fill(5)],
    ['answers with shared bytes, later', async () => new Uint8Array(new SharedArrayBuffer(512)).fill(5)],
    ['answers with its own buffer', (_offset, into) => into.fill(5)],
    // biome-ignore lint/suspicious/noThenProperty: anything may be awaited
    ['answers with a thenable', () => ({ then: (done: (v: unknown) => void) => done(Buffer.alloc(512, 5)) }) as never],
  ])('that %s succeeds', async (_how, read) => {
    const { ask, warnings } = serve({ read });
    expect(await ask('read').ended).toEqual({ failure: undefined, bytes: Buffer.alloc(512, 5) });
    expect(warnings).toEqual([]);
  });

  const hostile = Object.defineProperty(new Uint8Array(100), 'length', { value: 512 });
  const thenGetter = Object.defineProperty({}, 'then', {
    get() {
      throw new Error('no then');
    },
  });
  test.each<[string, (...values: never[]) => unknown, string]>([
    ['throws', () => raise(new Error('broken')), 'broken'],
    ['rejects', async () => raise(new Error('gone')), 'gone'],
    ['throws undefined', () => raise(undefined), 'undefined'],
    ['throws what cannot be text', () => raise(Object.create(null)), 'something that is no error was thrown'],
    ['rejects at length', async () => raise(new Error('x'.repeat(1e6))), 'x'.repeat(300)],
    ['answers with too few bytes', () => new Uint8Array(511), 'it answered with 511 bytes instead of 512'],
    ['answers with too many', async () => new Uint8Array(513), 'it answered with 513 bytes instead of 512'],
    ['lies about its length', () => hostile, 'it answered with 100 bytes instead of 512'],
    [
      'answers as fs.read does',
      () => ({ bytesRead: 512 }),
      'it answered with a value of type object and not with nothing or a Uint8Array',
    ],
    ['answers with a count', () => 512, 'it answered with a value of type number and not with nothing or a Uint8Array'],
    ['answers with null', () => null, 'it answered with null and not with nothing or a Uint8Array'],
    [
      'answers with other numbers',
      () => new Uint16Array(512),
      'it answered with a value of type object and not with nothing or a Uint8Array',
    ],
    ['has a hostile answer', () => thenGetter, 'no then'],
    [
      'gives its buffer away',
      (_offset: never, into: Buffer) => void structuredClone(into.buffer, { transfer: [into.buffer as ArrayBuffer] }),
      'it gave its buffer away',
    ],
  ])('that %s fails with the reason', async (_how, read, reason) => {
    const { ask, warnings, requests } = serve({ read: read as unknown as UserDiskFunctions['read'] });
    const { failure } = await ask('read', 1024).ended;
    expect(failure?.message).toBe(reason);
    expect(warnings.map(({ message }) => message)).toEqual([`disk read of 512 bytes at byte 1024 failed: ${reason}`]);
    expect(requests.running).toBe(0);
  });
});

function raise(value: unknown): never {
  throw value;
}

test('a write gets a buffer of its own, every function its range', async () => {
  const calls: unknown[] = [];
  const { ask } = serve({
    write: (offset, data) => void calls.push(['write', offset, data.length, data.buffer.byteLength, data[0]]),
    flush: () => void calls.push(['flush']),
    discard: (offset, length) => void calls.push(['discard', offset, length]),
    zeroes: async (offset, length) => void calls.push(['zeroes', offset, length]),
  });
  const all = [ask('write', 512, 100), ask('flush'), ask('discard', 1024, 4096), ask('zeroes', 8192, 512)];
  for (const { ended } of all) expect((await ended).failure).toBeUndefined();
  expect(calls).toEqual([['write', 512, 100, 100, 7], ['flush'], ['discard', 1024, 4096], ['zeroes', 8192, 512]]);
});

test('a function that does not settle in time: an error, its signal, and nothing of its late answer', async () => {
  let into: Buffer | undefined;
  let settle!: () => void;
  const reasons: unknown[] = [];
  const { ask, warnings, requests, count } = serve(
    {
      read: (_offset, buffer, { signal }) => {
        into = buffer;
        signal.addEventListener('abort', () => reasons.push(signal.reason));
        return new Promise<void>((resolve) => {
          settle = resolve;
        });
      },
    },
    { timeout: 20, concurrency: 1 },
  );
  const { failure } = await ask('read').ended;
  expect(failure?.message).toBe('no answer in 20 ms');
  expect(reasons).toMatchObject([{ code: 'ERR_TSVMM_TIMEOUT' }]);
  expect(warnings.map(({ message }) => message)).toEqual([
    'disk read of 512 bytes at byte 0 failed: no answer in 20 ms',
  ]);
  // It keeps its place: the next one waits for it, and fails at its own deadline.
  expect(requests.running).toBe(1);
  const first = into;
  expect((await ask('read').ended).failure?.message).toBe('no answer in 20 ms');
  expect(into).toBe(first);
  first!.fill(9);
  settle();
  await delay(1);
  expect(requests.running).toBe(0);
  expect(count()).toBe(2);
});

test('functions that never settle cost as many places as there are, however many requests come', async () => {
  let calls = 0;
  const read = (): Promise<void> => {
    calls++;
    return never();
  };
  const { ask, requests, warnings } = serve({ read }, { timeout: 5 });
  for (let i = 0; i < 200; i++)
    expect((await Promise.all([ask('read').ended, ask('read').ended]))[0]!.failure).toBeDefined();
  expect(calls).toBe(2);
  expect(requests.running).toBe(2);
  expect(warnings.length).toBeLessThan(150); // ten a second
}, 60_000);

test('an abort reaches who looks at the signal late, and frees a place among those that wait', async () => {
  let context: { signal: AbortSignal } | undefined;
  const { ask, requests } = serve(
    {
      read: (_offset, _into, given) => {
        context = given;
        return never();
      },
    },
    { concurrency: 1 },
  );
  const running = ask('read');
  const waiting = ask('read');
  requests.abort(waiting.request, new Error('one'));
  requests.abort(running.request, new Error('two'));
  expect((await running.ended).failure?.message).toBe('aborted');
  expect((await waiting.ended).failure?.message).toBe('aborted');
  expect(context?.signal.aborted).toBe(true);
  expect(context?.signal.reason).toMatchObject({ message: 'two' });
});

test('an end fails all that there is, and waits for functions only for a moment', async () => {
  const { ask, requests } = serve({ read: never }, { concurrency: 1 });
  const before = [ask('read'), ask('read')];
  const started = Date.now();
  const closing = requests.close({ message: 'over' });
  for (const { ended } of before) expect((await ended).failure).toBeDefined();
  expect((await ask('read').ended).failure?.message).toBe('over');
  await closing;
  expect(Date.now() - started).toBeGreaterThan(500);
  const quick = serve({ read: () => delay(5).then(() => undefined) });
  quick.ask('read');
  await quick.requests.close({ message: 'over' });
  expect(quick.requests.running).toBe(0);
});
