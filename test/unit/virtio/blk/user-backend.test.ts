/** A disk of functions, asked by the mock driver: nothing is lost, doubled or mixed up, whatever the functions do. */
import { randomBytes } from 'node:crypto';
import fc from 'fast-check';
import { afterAll, afterEach, beforeAll, describe, expect, test, vi } from 'vitest';
import { partBytes } from '../../../../src/disk/user-channel.js';
import type { UserDiskFacts, UserDiskFunctions } from '../../../../src/disk/user-disk.js';
import { BlkFeature, BlkStatus, writebackOffset } from '../../../../src/virtio/blk/blk-format.js';
import { effort, full } from '../../../support/effort.js';
import { engineKinds, ioUringMissing, type TestEngine, testEngine } from '../../support/engines.js';
import { discard, flush, HeldCalls, read, sector, UserDiskBench, write, zero } from '../../support/user-disk-bench.js';

const sectors = 256;
if (ioUringMissing) console.warn(`skipped: ${ioUringMissing}`);

let held: TestEngine;
const benches: UserDiskBench[] = [];
afterEach(() => {
  for (const bench of benches.splice(0)) bench.close();
});

function onBench(functions: UserDiskFunctions, facts?: Partial<UserDiskFacts>, features?: number[]): UserDiskBench {
  const bench = new UserDiskBench(held.engine, functions, facts, features);
  benches.push(bench);
  return bench;
}

function memoryDisk(content: Buffer): UserDiskFunctions {
  return {
    read: (offset, into) => void content.copy(into, 0, offset, offset + into.length),
    write: (offset, data) => void data.copy(content, offset),
    flush: () => {},
  };
}

describe.each(engineKinds)('on %s', (kind) => {
  const maybe = test.skipIf(kind === 'io_uring' && ioUringMissing !== undefined);
  beforeAll(async () => {
    if (kind === 'epoll' || ioUringMissing === undefined) held = await testEngine(kind);
  });
  afterAll(() => held?.close());

  maybe('reads, writes and flushes through the functions', async () => {
    const content = randomBytes(sectors * sector);
    const bench = onBench(memoryDisk(content));
    const found = await bench.answer(bench.offer(read(3, 1024)));
    expect(found).toEqual({ status: BlkStatus.ok, data: content.subarray(3 * sector, 5 * sector) });
    const data = randomBytes(1536);
    expect(await bench.answer(bench.offer(write(100, data)))).toMatchObject({ status: BlkStatus.ok });
    expect(content.subarray(100 * sector, 103 * sector).equals(data)).toBe(true);
    expect(await bench.answer(bench.offer(flush()))).toMatchObject({ status: BlkStatus.ok });
    expect(bench.warnings).toEqual([]);
  });

  maybe('is not given what was copied of memory that the host has lost', async () => {
    const calls: number[] = [];
    const bench = onBench({
      ...memoryDisk(Buffer.alloc(sectors * sector)),
      write: (offset) => void calls.push(offset),
    });
    const lost = vi.spyOn(bench.bench.memory, 'isLost', 'get').mockReturnValue(true);
    const data = Buffer.alloc(2 * partBytes);
    expect(await bench.answer(bench.offer(write(0, data.subarray(0, sector))))).toMatchObject({
      status: BlkStatus.ioError,
    });
    expect(await bench.answer(bench.offer(flush()))).toMatchObject({ status: BlkStatus.ok });
    expect(calls).toEqual([]);
    lost.mockRestore();
    expect(await bench.answer(bench.offer(write(0, data.subarray(0, sector))))).toMatchObject({ status: BlkStatus.ok });
    expect(calls).toEqual([0]);
  });

  maybe('asks a long request in parts, in whatever order they come back', async () => {
    const size = 5 * partBytes;
    const content = randomBytes(size);
    const calls = new HeldCalls();
    const parts: number[] = [];
    const bench = onBench(
      {
        read: (offset, into) => calls.hold(() => content.subarray(offset, offset + into.length)),
        write: (offset, data) => {
          parts.push(data.length);
          return calls.hold(() => void data.copy(content, offset));
        },
      },
      { size, flushes: false },
    );
    const data = randomBytes(2.5 * partBytes);
    const backwards = (): void => calls.release(calls.size - 1);
    expect(await bench.answer(bench.offer(write(sectors, data)), backwards)).toMatchObject({ status: BlkStatus.ok });
    expect(content.subarray(sectors * sector, sectors * sector + data.length).equals(data)).toBe(true);
    expect(parts).toEqual([partBytes, partBytes, partBytes / 2]);
    const found = await bench.answer(bench.offer(read(1, 2.5 * partBytes)), backwards);
    expect(found.data.equals(content.subarray(sector, sector + 2.5 * partBytes))).toBe(true);
  });

  maybe.each([false, true])(
    'a write that was given up never undoes a later one (machine: %s)',
    async (ofTheMachine) => {
      const content = Buffer.alloc(sectors * sector);
      const calls = new HeldCalls();
      const aborted: unknown[] = [];
      const bench = onBench({
        read: (offset, into) => void content.copy(into, 0, offset, offset + into.length),
        write: (offset, data, { signal }) => {
          signal.addEventListener('abort', () => aborted.push(signal.reason));
          return calls.hold(() => void data.copy(content, offset));
        },
      });
      bench.offer(write(2, Buffer.alloc(4 * sector, 1)));
      await bench.until(() => calls.size === 1);
      bench.reset(ofTheMachine);
      const later = bench.offer(write(5, Buffer.alloc(sector, 2)));
      const read5 = bench.offer(read(5, sector));
      const elsewhere = bench.offer(write(6, Buffer.alloc(sector, 3)));
      await bench.until(() => aborted.length === 1 && calls.size === 2);
      for (let i = 0; i < 20; i++) await bench.step();
      expect(bench.answers.size).toBe(0);
      calls.release(1); // what is elsewhere
      expect(await bench.answer(elsewhere)).toMatchObject({ status: BlkStatus.ok });
      expect(bench.answers.has(later)).toBe(false);
      calls.release();
      await bench.until(() => calls.size === 1);
      calls.release();
      expect(await bench.answer(later)).toMatchObject({ status: BlkStatus.ok });
      expect(await bench.answer(read5)).toMatchObject({ status: BlkStatus.ok });
      expect([2, 5, 6].map((at) => content[at * sector])).toEqual([1, 2, 3]);
      expect(bench.warnings).toEqual([]);
    },
  );

  maybe('discards whole blocks, where there is a function for it, and zeroes much at once', async () => {
    const calls: unknown[] = [];
    const functions: UserDiskFunctions = {
      read: () => {},
      discard: (offset, length) => void calls.push(['discard', offset, length]),
      zeroes: (offset, length) => void calls.push(['zeroes', offset, length]),
      flush: () => void calls.push(['flush']),
    };
    const facts = { size: 2 ** 31, blockSize: 4096, discards: true, zeroes: true } as const;
    const features = [BlkFeature.discard, BlkFeature.writeZeroes]; // no flushes: every change is durable
    const bench = onBench(functions, facts, features);
    const ok = { status: BlkStatus.ok };
    expect(await bench.answer(bench.offer(discard(1, 4 * 4096)))).toMatchObject(ok);
    expect(await bench.answer(bench.offer(discard(1, 4096)))).toMatchObject(ok);
    expect(await bench.answer(bench.offer(zero(8, 2 ** 30)))).toMatchObject(ok);
    expect(calls).toEqual([['discard', 4096, 3 * 4096], ['zeroes', 4096, 2 ** 30], ['flush']]);
    const without = onBench(functions, { size: 2 ** 20 }, features);
    expect(await without.answer(without.offer(discard(1, 512)))).toMatchObject(ok);
    expect(calls).toHaveLength(3);
  });

  maybe('a request that nobody has seen before a reset is never performed', async () => {
    let writes = 0;
    const bench = onBench({ read: () => {}, write: () => void writes++ });
    bench.offer(write(2, Buffer.alloc(sector)));
    bench.bench.turn();
    bench.reset();
    expect(await bench.answer(bench.offer(read(0, sector)))).toMatchObject({ status: BlkStatus.ok });
    expect(writes).toBe(0);
  });

  maybe('what is no whole block is refused before the functions see it', async () => {
    const offsets: number[] = [];
    const bench = onBench({ read: (offset) => void offsets.push(offset) }, { blockSize: 4096, size: 64 * 4096 });
    expect(await bench.answer(bench.offer(read(1, 4096)))).toMatchObject({ status: BlkStatus.ioError });
    expect(await bench.answer(bench.offer(read(8, 512)))).toMatchObject({ status: BlkStatus.ioError });
    expect(await bench.answer(bench.offer(read(8, 4096)))).toMatchObject({ status: BlkStatus.ok });
    expect(offsets).toEqual([4096]);
  });

  maybe('whoever takes over from a thread that died fails what that had taken', async () => {
    let reads = 0;
    const bench = onBench({ read: () => void reads++ });
    const lost = bench.offer(read(0, sector));
    bench.bench.turn();
    bench.loseServer();
    expect(await bench.answer(lost)).toMatchObject({ status: BlkStatus.ioError });
    expect(reads).toBe(0);
    expect(await bench.answer(bench.offer(read(0, sector)))).toMatchObject({ status: BlkStatus.ok });
  });

  maybe('with random requests, functions that settle in any order or fail, and resets: each answer is its own', () => {
    const request = fc.record({
      kind: fc.constantFrom('read', 'write', 'write', 'zero', 'flush'),
      at: fc.nat(sectors - 1),
      count: fc.integer({ min: 1, max: 20 }),
      fails: fc.integer({ min: 0, max: 9 }).map((n) => n === 0),
    });
    const batches = fc.array(
      fc.record({
        requests: fc.array(request, { maxLength: 24 }),
        choices: fc.array(fc.nat(20), { minLength: 1, maxLength: 12 }),
        reset: fc.integer({ min: 0, max: 3 }).map((n) => n === 0),
        steps: fc.nat(6),
      }),
      { maxLength: 6 },
    );
    return fc.assert(
      fc.asyncProperty(batches, fc.integer({ min: 1, max: 12 }), fc.boolean(), async (list, concurrency, zeroes) => {
        const model = randomBytes(sectors * sector);
        const content = Buffer.from(model);
        const calls = new HeldCalls();
        const failing = new Set<number>();
        const count = { read: 0, write: 0, zero: 0, flush: 0 };
        let running = 0;
        const call = <T>(kind: keyof typeof count, offset: number, effect: () => T): Promise<T> => {
          count[kind]++;
          expect(++running).toBeLessThanOrEqual(concurrency);
          return calls.hold(() => {
            running--;
            if (failing.has(offset)) throw new Error('as asked');
            return effect();
          });
        };
        const bench = onBench(
          {
            read: (offset, into) => {
              const fill = (): void => void content.copy(into, 0, offset, offset + into.length);
              return call('read', offset, fill).then(() => void setImmediate(() => into.fill(0xee))); // late, to nobody
            },
            write: (offset, data) =>
              call('write', offset, () => {
                data.copy(content, offset);
                setImmediate(() => data.fill(0xee));
              }),
            flush: () => call('flush', -1, () => {}),
            zeroes: (offset, length) => call('zero', offset, () => void content.fill(0, offset, offset + length)),
          },
          { concurrency, zeroes },
        );
        /** Sectors of which nobody can say what they hold: a write to them has failed, or was given up. */
        const unknown = new Set<number>();
        for (const { requests, choices, reset, steps } of list) {
          failing.clear();
          const used = new Set<number>();
          const offered: { number: number; kind: string; at: number; bytes: number; fails: boolean; data?: Buffer }[] =
            [];
          const before = { ...count };
          for (const { kind, at, count: wanted, fails } of requests) {
            const length = Math.min(wanted, sectors - at);
            const range = Array.from({ length }, (_, i) => at + i);
            if (kind !== 'flush' && range.some((one) => used.has(one))) continue; // in flight at once: in any order
            const bytes = length * sector;
            if (kind === 'flush') offered.push({ number: bench.offer(flush()), kind, at: 0, bytes: 0, fails: false });
            else {
              for (const one of range) used.add(one);
              if (fails) failing.add(at * sector);
              const data = kind === 'write' ? randomBytes(bytes) : kind === 'zero' ? Buffer.alloc(bytes) : undefined;
              const asked = kind === 'read' ? read(at, bytes) : kind === 'zero' ? zero(at, bytes) : write(at, data!);
              const number = bench.offer(asked);
              offered.push({ number, kind, at, bytes, fails, ...(data && { data }) });
            }
          }
          let turn = 0;
          const letOne = (): void => calls.release(choices[turn++ % choices.length]);
          if (reset) {
            for (let i = 0; i < steps; i++) {
              await bench.step();
              letOne();
            }
            bench.reset(turn % 2 === 0);
            for (const { kind, at, bytes } of offered)
              if (kind !== 'read') for (let i = 0; i < bytes / sector; i++) unknown.add(at + i);
            continue;
          }
          await bench.until(() => offered.every(({ number }) => bench.answers.has(number)), letOne);
          const kinds = offered.map(({ kind }) => kind);
          // Those of an earlier driver may come in between; but none of this one's is called twice.
          if (!list.some((batch) => batch.reset))
            for (const kind of ['read', 'write', 'zero', 'flush'] as const) {
              const called = (one: string): string => (one === 'zero' && !zeroes ? 'write' : one);
              expect(count[kind] - before[kind]).toBe(kinds.filter((one) => called(one) === kind).length);
            }
          for (const { number, kind, at, bytes, fails, data } of offered) {
            const { status, data: found } = bench.answers.get(number)!;
            expect(status).toBe(fails ? BlkStatus.ioError : BlkStatus.ok);
            if (data !== undefined) {
              for (let i = 0; i < bytes / sector; i++) {
                if (fails) unknown.add(at + i);
                else {
                  unknown.delete(at + i);
                  data!.copy(model, (at + i) * sector, i * sector, (i + 1) * sector);
                }
              }
            } else if (kind === 'read' && !fails) {
              for (let i = 0; i < bytes / sector; i++)
                if (!unknown.has(at + i))
                  expect(
                    found.compare(model, (at + i) * sector, (at + i + 1) * sector, i * sector, (i + 1) * sector),
                  ).toBe(0);
            }
          }
        }
        failing.clear();
        await bench.until(
          () => bench.requests.running === 0 && calls.size === 0,
          () => calls.release(),
        );
        const last = await bench.answer(bench.offer(read(0, sectors * sector)), () => calls.release());
        for (let i = 0; i < sectors; i++)
          if (!unknown.has(i))
            expect(last.data.compare(model, i * sector, (i + 1) * sector, i * sector, (i + 1) * sector)).toBe(0);
        for (const one of benches.splice(0)) one.close();
      }),
      { numRuns: effort(100) },
    );
  });

  maybe(
    'what was flushed is there after the loss of power',
    () => {
      const step = fc.record({
        kind: fc.constantFrom('write', 'write', 'write', 'flush', 'let', 'let'),
        at: fc.nat(15),
        choice: fc.nat(30),
      });
      return fc.assert(
        fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40 }), fc.boolean(), async (steps, durable) => {
          const calls = new HeldCalls();
          // Numbers of writes: what the disk's cache holds, and what has come to rest.
          const cache = new Map<number, number>();
          const rest = new Map<number, number>();
          const bench = onBench(
            {
              read: () => {},
              write: (offset, data) => {
                const value = data.readUInt32LE();
                return calls.hold(() => void cache.set(offset / sector, value));
              },
              flush: () => {
                const now = new Map(cache);
                return calls.hold(() => {
                  // A flush that was asked for earlier and ends later undoes nothing.
                  for (const [at, value] of now) rest.set(at, Math.max(value, rest.get(at) ?? -1));
                });
              },
            },
            {},
            durable ? [BlkFeature.flush, BlkFeature.configWce] : undefined,
          );
          if (durable) bench.bench.config[writebackOffset] = 0; // every write that ends is flushed
          const writes: { number: number; at: number; value: number; offered: number; answered: number }[] = [];
          const flushes: { number: number; offered: number; answered: number }[] = [];
          let now = 0;
          const note = (): void => {
            for (const one of [...writes, ...flushes])
              if (one.answered < 0 && bench.answers.has(one.number)) one.answered = now;
          };
          for (const { kind, at, choice } of steps) {
            now++;
            if (kind === 'let') calls.release(choice);
            else if (kind === 'flush') flushes.push({ number: bench.offer(flush()), offered: now, answered: -1 });
            else if (!writes.some((one) => one.at === at && one.answered < 0)) {
              const data = Buffer.alloc(sector);
              data.writeUInt32LE(now);
              writes.push({ number: bench.offer(write(at, data)), at, value: now, offered: now, answered: -1 });
            }
            await bench.step();
            note();
          }
          // The power goes. Of each write that was done before a flush was asked for that is done, it or a later one is there.
          for (const { at, value, answered } of writes) {
            if (answered < 0) continue;
            const isFlushed = flushes.some((one) => one.offered > answered && one.answered >= 0);
            if (durable || isFlushed) expect(rest.get(at) ?? -1).toBeGreaterThanOrEqual(value);
          }
          for (const one of benches.splice(0)) one.close();
        }),
        { numRuns: full ? 10_000 : 300 },
      );
    },
    600_000,
  );
});
