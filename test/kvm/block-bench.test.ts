import { readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { pattern, scratchFolder, sectorBytes } from './support/disks.js';
import { runGuest, whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

const scratch = scratchFolder();
const blockBytes = 4096;
const sectors = 2048;

/** What bench/guests/block/content.c writes into a block: its complement, then words that are the same everywhere. */
function written(block: number): Buffer {
  const words = new BigUint64Array(blockBytes / 8).map((_, i) =>
    i === 0 ? ~BigInt(block) : BigInt(i) * 0x9e3779b97f4a7c15n,
  );
  return Buffer.from(words.buffer);
}

interface Report {
  readonly requests: number;
  readonly doorbells: number;
  readonly checked: number;
}

function reportOf(output: string): Report {
  const match =
    /^block ok: requests (\d+) us \d+ iops \d+ bytes\/s \d+ p50 (\d+) p90 (\d+) p99 (\d+) p99.9 (\d+) max (\d+) ns doorbells (\d+) checked (\d+) tsc \d+ kHz$/m.exec(
      output,
    );
  expect(match, output).not.toBeNull();
  const [requests, ...rest] = match!.slice(1).map(Number);
  const times = rest.slice(0, 5);
  expect(times).toEqual([...times].sort((a, b) => a - b));
  expect(times[0]).toBeGreaterThan(0);
  return { requests: requests!, doorbells: rest[5]!, checked: rest[6]! };
}

describe.skipIf(whyNoKvm !== undefined)('the guest of the block benchmark', () => {
  test.each([
    'depth=1',
    'depth=8 pattern=sequential',
    'depth=128 warm-up=20',
    'depth=85 no-indirect',
    'depth=32 no-event-index',
    'size=131072 depth=8',
    'size=512 depth=200 pattern=sequential no-event-index',
  ])('reads what is there (%s)', async (cmdline) => {
    const path = scratch.file('read.img', pattern(0, sectors, 9));
    const output = await runClean('block', {
      disks: [path],
      memory: '128M',
      cmdline: `warm-up=0 requests=500 seed=9 ${cmdline}`,
    });
    const { requests, doorbells, checked } = reportOf(output);
    expect(requests).toBe(500);
    expect(checked).toBe(64);
    expect(doorbells).toBeGreaterThan(0);
    expect(doorbells).toBeLessThanOrEqual(500);
  });

  test.each(['mix=write', 'mix=readwrite', 'rwmix=20 no-event-index'])(
    'finds again what it wrote (%s)',
    async (mix) => {
      const path = scratch.file('random.img', sectors * sectorBytes);
      const output = await runClean('block', { disks: [path], cmdline: `warm-up=0 requests=400 depth=16 ${mix}` });
      const { requests, checked } = reportOf(output);
      expect(requests).toBe(400);
      expect(checked).toBeGreaterThan(50);
      const disk = readFileSync(path);
      let blocks = 0;
      for (let block = 0; block < disk.length / blockBytes; block++) {
        const content = disk.subarray(block * blockBytes, (block + 1) * blockBytes);
        if (content.every((byte) => byte === 0)) continue;
        expect(content.equals(written(block)), `block ${block}`).toBe(true);
        blocks++;
      }
      expect(blocks).toBeGreaterThan(50);
    },
  );

  test('writes one block after another, each once', async () => {
    const path = scratch.file('sequential.img', sectors * sectorBytes);
    const cmdline = 'mix=write pattern=sequential requests=40 depth=8 warm-up=0';
    await runClean('block', { disks: [path], cmdline });
    const disk = readFileSync(path);
    const expected = Buffer.concat(Array.from({ length: 40 }, (_, block) => written(block)));
    expect(disk.subarray(0, expected.length).equals(expected)).toBe(true);
    expect(disk.subarray(expected.length).every((byte) => byte === 0)).toBe(true);
  });

  test('measures for as long as it is told', async () => {
    const path = scratch.file('timed.img', sectors * sectorBytes);
    const output = await runClean('block', { disks: [path], cmdline: 'warm-up=10 ms=50 depth=4' });
    expect(Number(/ us (\d+) /.exec(output)![1])).toBeGreaterThanOrEqual(50_000);
    expect(reportOf(output).requests).toBeGreaterThan(0);
  });

  test('says what is wrong, from ring 3 too', async () => {
    const content = pattern(0, sectors, 9);
    content.writeUInt32LE(0xdead, 8);
    const wrong = scratch.file('wrong.img', content);
    const cmdline = 'warm-up=0 requests=5 depth=1 blocks=1 seed=9';
    const { output, exit } = await runGuest('block', { disks: [wrong], cmdline });
    expect(output).toContain('FAIL: block 0 word 2 is 0xdead instead of 0xb\n');
    expect(exit).toMatchObject({ debugExit: 1 });
  });

  test.each([
    ['depth=128 no-indirect', 'usage: depth 128 does not fit a queue of 256\n'],
    ['queues=8 mix=write', 'usage: the disk has '],
    ['size=1000', 'usage: size is a multiple of 512\n'],
    ['mix=neither', 'usage: mix is read, write or readwrite\n'],
  ])('refuses %s', async (cmdline, message) => {
    const path = scratch.file('refused.img', sectors * sectorBytes);
    const { output, exit } = await runGuest('block', { disks: [path], cmdline });
    expect(output).toContain(message);
    expect(exit).toMatchObject({ debugExit: 3 });
  });
});
