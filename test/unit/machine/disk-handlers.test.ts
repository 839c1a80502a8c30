/** What a program may say of a disk of its own, and what it is told when that cannot be. */
import { describe, expect, test } from 'vitest';
import { TsvmmError } from '../../../src/errors.js';
import { Disk } from '../../../src/machine/disk.js';
import { diskHandlers } from '../../../src/machine/disk-handlers.js';
import { normalize } from '../../../src/machine/options.js';

const read = (): void => {};
const write = (): void => {};

function refused(make: () => unknown): TsvmmError {
  try {
    make();
  } catch (error) {
    if (error instanceof TsvmmError) return error;
    throw error;
  }
  throw new Error('accepted');
}

test('the defaults, and what follows from the functions', () => {
  expect(diskHandlers('disk', { size: '1M', read }).facts).toEqual({
    size: 2 ** 20,
    blockSize: undefined,
    readOnly: true,
    concurrency: 8,
    timeout: 30_000,
    flushes: false,
    discards: false,
    zeroes: false,
  });
  const all = { size: 8192, blockSize: 4096, read, write, flush: read, discard: write, concurrency: 16, timeout: '2m' };
  expect(diskHandlers('disk', all).facts).toEqual({
    size: 8192,
    blockSize: 4096,
    readOnly: false,
    concurrency: 16,
    timeout: 120_000,
    flushes: true,
    discards: true,
    zeroes: false,
  });
  expect(diskHandlers('disk', { size: 512, read, write, readOnly: true }).facts.readOnly).toBe(true);
});

test('an instance of a class has its methods called as methods, and state of its own', () => {
  class Zeroes {
    readonly size = 512;
    calls = 0;
    read(): void {
      this.calls++;
    }
  }
  const zeroes = new Zeroes();
  const { functions } = diskHandlers('disk', zeroes);
  void functions.read(0, Buffer.alloc(512), { signal: new AbortController().signal });
  expect(zeroes.calls).toBe(1);
});

describe('refused, with a hint', () => {
  test.each<[unknown, RegExp]>([
    [undefined, /expected functions/],
    [[], /expected functions/],
    [{ size: 512 }, /Disk\.from\.read: expected a function, got undefined/],
    [{ size: 512, read: 7 }, /Disk\.from\.read: expected a function, got 7/],
    [{ size: 512, read, flush: true }, /Disk\.from\.flush: expected a function, got true/],
    [{ size: 512, read, wirte: write }, /there is no option "wirte"/],
    [{ read }, /Disk\.from\.size/],
    [{ size: 0, read }, /Disk\.from\.size: 0 is not possible/],
    [{ size: 513, read }, /Disk\.from\.size: 513 is not possible/],
    [{ size: -512, read }, /Disk\.from\.size/],
    [{ size: 2 ** 53, read }, /Disk\.from\.size/],
    [{ size: 512.5, read }, /Disk\.from\.size/],
    [{ size: 512n, read }, /Disk\.from\.size/],
    [{ size: 512, read, blockSize: 4096 }, /Disk\.from\.size: 512 is not possible/],
    [{ size: 4096, read, blockSize: 1024 }, /Disk\.from\.blockSize: 1024 is not possible/],
    [{ size: 512, read, readOnly: 'no' }, /Disk\.from\.readOnly: "no"/],
    [{ size: 512, read, readOnly: false }, /has no function write/],
    [{ size: 512, read, concurrency: 0 }, /Disk\.from\.concurrency: 0/],
    [{ size: 512, read, concurrency: 17 }, /Disk\.from\.concurrency: 17/],
    [{ size: 512, read, timeout: 0 }, /Disk\.from\.timeout: 0/],
    [{ size: 512, read, timeout: 'soon' }, /Disk\.from\.timeout: "soon"/],
  ])('%o', (value, message) => {
    const error = refused(() => Disk.from(value as never));
    expect(error.code).toBe('ERR_TSVMM_CONFIG');
    expect(error.message).toMatch(message);
    expect(error.hint).toBeTruthy();
  });

  test('a module that is no URL, and a disk that nobody made', () => {
    expect(refused(() => Disk.fromModule('./disk.js' as never)).message).toMatch(/"\.\/disk\.js" is no URL/);
    const make = Disk as unknown as new () => Disk;
    expect(() => new make()).toThrow(/use Disk\.open/);
  });

  test.each<[object, RegExp]>([
    [{ serial: 'x'.repeat(21) }, /Disk\.from\.serial: .* too long/],
    [{ limit: { opsPerSecond: 1.5 } }, /Disk\.from\.limit\.opsPerSecond: 1\.5/],
    [{ removable: 'yes' }, /Disk\.from\.removable/],
    [{ cache: 'direct' }, /there is no option "cache"/],
  ])('options %o', (options, message) => {
    expect(refused(() => Disk.from({ size: 512, read }, options as never)).message).toMatch(message);
  });
});

test('it stands among the disks of a machine', () => {
  const disk = Disk.from({ size: 512, read });
  expect(normalize({ disks: ['a.img', disk] }).disks[1]).toBe(disk);
  expect(disk.size).toBe(512);
  expect(disk.readOnly).toBe(true);
});
