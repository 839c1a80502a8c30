/** Holes: found, kept, and not taken for data; work on chunks in turn. */
import { closeSync, fstatSync, openSync } from 'node:fs';
import fc from 'fast-check';
import { afterAll, describe, expect, test, vi } from 'vitest';
import { NewFiles, readFully } from '../../../src/snapshot/file-io.js';
import { inTurn } from '../../../src/snapshot/in-turn.js';
import { chunkSize, chunksIn, digestSize } from '../../../src/snapshot/manifest.js';
import { Progress } from '../../../src/snapshot/progress.js';
import { ramParts } from '../../../src/snapshot/ram-parts.js';
import { type ChunkSource, DataFinder, writeSparse } from '../../../src/snapshot/sparse-file.js';
import { allocated, MIB, page, pattern, SnapshotBench } from '../support/snapshots.js';

const bench = new SnapshotBench();
afterAll(() => bench.close());

test('where a file has data', () => {
  const { fd } = bench.layer(64 * MIB, { [10 * MIB]: pattern(page, 1), [40 * MIB]: pattern(page, 1) });
  const finder = new DataFinder(fd);
  const found = Array.from({ length: 32 }, (_, at) => finder.hasData(at * 2 * MIB, (at + 1) * 2 * MIB));
  expect(found.flatMap((is, at) => (is ? at : []))).toEqual([5, 20]);
  // In any order, and for parts of chunks.
  expect(finder.hasData(60 * MIB, 64 * MIB)).toBe(false);
  expect(finder.hasData(10 * MIB, 10 * MIB + page)).toBe(true);
  expect(finder.hasData(10 * MIB + page, 12 * MIB)).toBe(false);
  expect(finder.hasData(0, 64 * MIB)).toBe(true);
});

test('a file system that cannot tell has data everywhere', () => {
  const fd = openSync('/proc/self/status', 'r');
  expect(new DataFinder(fd).hasData(100, 200)).toBe(true);
  expect(new DataFinder(-1).hasData(0, 1)).toBe(true); // and reading says what is wrong
  closeSync(fd);
});

const sourceOf = (bytes: Buffer): ChunkSource => ({
  size: bytes.length,
  isHole: () => false,
  read: async (index, into) => void bytes.copy(into, 0, index * chunkSize),
});

test('files that are to be durable together are not, if one is not', async () => {
  const files = new NewFiles();
  const [good, bad] = [bench.path('good'), bench.path('bad')];
  await files.write(good, async () => {});
  await files.write(bad, async (fd) => {
    closeSync(fd);
    expect(openSync('/proc/self/status', 'r')).toBe(fd);
  });
  await expect(files.sync()).rejects.toThrow('EINVAL');
  await files.close();
  await expect(files.write(good, async () => {})).rejects.toThrow('EEXIST');
});

test('any content is written with its holes and its digests', async () => {
  const run = fc.record({ pages: fc.integer({ min: 1, max: 600 }), zero: fc.boolean() });
  await fc.assert(
    fc.asyncProperty(fc.array(run, { minLength: 1, maxLength: 6 }), fc.nat(page - 1), async (runs, tail) => {
      const bytes = Buffer.concat([
        ...runs.map(({ pages, zero }, seed) => (zero ? Buffer.alloc(pages * page) : pattern(pages * page, seed))),
        pattern(tail + 1, 7),
      ]);
      const { fd } = bench.layer(0);
      const hashes = new Uint8Array(chunksIn(bytes.length) * digestSize);
      await writeSparse({ fd, offset: page, hashes }, sourceOf(bytes), new Progress({}));
      const seen = Buffer.alloc(bytes.length);
      await readFully(fd, seen, page);
      expect(seen.equals(bytes)).toBe(true);
      expect(fstatSync(fd).size).toBe(page + bytes.length);
      const filled =
        runs.reduce((sum, { pages, zero }) => sum + (zero ? 0 : pages), 0) + Math.ceil((tail + 1) / page) + 1;
      expect(allocated(fd)).toBeLessThanOrEqual(filled * page + 64 * 1024);
      for (let index = 0; index < chunksIn(bytes.length); index++) {
        const chunk = bytes.subarray(index * chunkSize, (index + 1) * chunkSize);
        const { createHash } = await import('node:crypto');
        const digest = chunk.every((byte) => byte === 0)
          ? Buffer.alloc(32)
          : createHash('sha256').update(chunk).digest();
        expect(Buffer.from(hashes.subarray(index * 32, index * 32 + 32)).equals(digest)).toBe(true);
      }
    }),
    { numRuns: 25 },
  );
});

test('the parts of a range, by pieces', () => {
  const pieces = [
    { offset: 0, length: 10 },
    { offset: 10, length: 5 },
    { offset: 15, length: 100 },
  ];
  const parts = (offset: number, length: number): number[][] =>
    [...ramParts(pieces, offset, length)].map((part) => [pieces.indexOf(part.piece), part.offset, part.length]);
  expect(parts(0, 115)).toEqual([
    [0, 0, 10],
    [1, 10, 5],
    [2, 15, 100],
  ]);
  expect(parts(9, 2)).toEqual([
    [0, 9, 1],
    [1, 10, 1],
  ]);
  expect(parts(10, 5)).toEqual([[1, 10, 5]]);
  expect(parts(20, 0)).toEqual([]);
  expect(parts(115, 9)).toEqual([]);
});

describe('work in turn', () => {
  test('all of it, each once, with few at a time', async () => {
    const seen: number[] = [];
    let active = 0;
    let most = 0;
    const made = vi.fn(() => ({}));
    const work = async (index: number): Promise<void> => {
      most = Math.max(most, ++active);
      await new Promise(setImmediate);
      seen.push(index);
      active--;
    };
    await inTurn(100, made, work, undefined);
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 100 }, (_, index) => index));
    expect(most).toBe(2);
    expect(made).toHaveBeenCalledTimes(2);
    await inTurn(0, made, work, undefined);
  });

  test('the failure of the lowest number, when nothing is under way any more', async () => {
    let active = 0;
    const failing = async (index: number): Promise<void> => {
      active++;
      // The second fails at once, the first later.
      for (let turns = index === 0 ? 5 : 1; turns > 0; turns--) await new Promise(setImmediate);
      active--;
      throw new Error(`at ${index}`);
    };
    await expect(inTurn(50, () => 0, failing, undefined)).rejects.toThrow('at 0');
    expect(active).toBe(0);
  });

  test('the event loop turns although there is nothing to wait for', async () => {
    let turns = 0;
    const counting = setInterval(() => turns++, 0);
    const immediate = (): void => void (turns++ < 1e6 && setImmediate(immediate));
    setImmediate(immediate);
    await inTurn(
      20_000,
      () => 0,
      async () => {},
      undefined,
    );
    clearInterval(counting);
    expect(turns).toBeGreaterThan(10);
    turns = 1e6;
  });

  test('an aborted signal ends it', async () => {
    const abort = new AbortController();
    const reason = new Error('enough');
    const work = vi.fn(async (index: number) => (index === 3 ? abort.abort(reason) : undefined));
    await expect(inTurn(1000, () => 0, work, abort.signal)).rejects.toBe(reason);
    expect(work.mock.calls.length).toBeLessThan(10);
  });
});

test('nothing is read from where nothing is', async () => {
  await expect(readFully(bench.layer(10).fd, Buffer.alloc(11), 0)).rejects.toThrow('ends before it should');
});
