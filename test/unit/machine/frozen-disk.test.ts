/** Disks that are frozen in a machine that does what it is told, and the disks of machines that go on from there. */
import { randomBytes } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeEach, describe, expect, test, vi } from 'vitest';
import { openDiskFile } from '../../../src/disk/disk-file.js';
import { Disk } from '../../../src/machine/disk.js';
import type { DiskHost, MediumChange } from '../../../src/machine/disk-host.js';
import type { DiskOptions } from '../../../src/machine/disk-options.js';
import { freezeMachine } from '../../../src/machine/frozen-disks.js';
import type { Medium } from '../../../src/machine/medium.js';
import type { PowerCycle } from '../../../src/machine/power-cycle.js';
import { driveOf } from '../../../src/machine/saved-disks.js';
import { BlkDevice } from '../../../src/virtio/blk/blk.js';
import { BlkFeature, BlkStatus, blkConfig } from '../../../src/virtio/blk/blk-format.js';
import { openTargets } from '../../support/descriptors.js';
import { ask, discard, write } from '../support/blk-disks.js';
import { DeviceBench } from '../support/device-bench.js';
import { ShuffledEngine } from '../support/shuffled-engine.js';
import { mappedRam } from '../support/test-ram.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-frozen-disk-'));
afterAll(() => rmSync(directory, { recursive: true }));

const size = 2 ** 18;
let files = 0;
function image(content = randomBytes(size)): { path: string; content: Buffer } {
  const path = join(directory, `image${files++}`);
  writeFileSync(path, content);
  return { path, content: Buffer.from(content) };
}

const openFiles = (): string[] =>
  openTargets()
    .filter((target) => /^\/(?!proc|dev)/.test(target))
    .sort();
let before: string[];
beforeEach(() => {
  before = openFiles();
});

/** A machine with one drive, whose I/O worker is a device on the bench. */
class Machine implements DiskHost {
  readonly disk: Disk;
  readonly changes: string[] = [];
  failure: Error | undefined;
  readonly #engine = new ShuffledEngine();
  #bench: DeviceBench | undefined;
  #device: BlkDevice | undefined;

  static async with(disk: Disk): Promise<Machine> {
    const machine = new Machine(disk);
    await disk.attach(machine, { what: 'disk3', warn: () => {}, signal: new AbortController().signal });
    machine.#powerOn();
    return machine;
  }

  private constructor(disk: Disk) {
    this.disk = disk;
  }

  async change(change: MediumChange): Promise<void> {
    if (this.failure !== undefined) throw this.failure;
    const medium = await change.prepare();
    this.#device!.exchange(medium?.open);
    change.commit(medium);
    this.changes.push(`${change.syncs ? 'synced' : 'not synced'}, ${change.isTold ? 'told' : 'not told'}`);
  }

  limit(): void {}

  get bench(): DeviceBench {
    return this.#bench!;
  }

  write(sector: number, data: Buffer): void {
    expect(ask(this.bench, write(sector, data)).status).toBe(BlkStatus.ok);
  }

  async end(): Promise<void> {
    this.#bench!.close();
    await this.disk.detach();
  }

  #powerOn(): void {
    const config = blkConfig({ name: 'disk3', ...this.disk.tell() });
    this.#device = new BlkDevice({ disk: this.disk.medium?.open, id: 'disk3', removable: true });
    const features = [BlkFeature.flush, BlkFeature.discard];
    this.#bench = new DeviceBench(this.#device, mappedRam(0x20_0000), { engine: this.#engine, features, config });
  }
}

async function contentOf(medium: Medium | undefined): Promise<Buffer> {
  await using reader = await medium!.reader(new AbortController().signal);
  const whole = await reader.read(0, reader.size);
  expect((await reader.read(1000, 3000)).equals(whole.subarray(1000, 4000))).toBe(true);
  await expect(reader.read(reader.size - 100, 101)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
  return whole;
}

const opened = async (options: Omit<DiskOptions, 'path'> = {}) => {
  const { path, content } = image();
  return { path, content, machine: await Machine.with(await Disk.open(path, options)) };
};

describe.each<[string, Omit<DiskOptions, 'path'>]>([
  ['an image', {}],
  ['an ephemeral disk', { ephemeral: true }],
  ['an image with direct I/O', { cache: 'direct' }],
])('%s', (_what, options) => {
  test('is copied with its drive; each goes its own way, and what a copy boots from is its own', async () => {
    const own = { serial: 'one', onError: 'stop', removable: true, limit: { opsPerSecond: 1000 } } as const;
    const { machine, content } = await opened({ ...options, ...own });
    machine.write(4, Buffer.alloc(4096, 1));
    content.fill(1, 4 * 512, 12 * 512);
    await machine.disk.prepareFreeze();
    const frozen = await machine.disk.freeze();
    expect(machine.changes).toEqual(['not synced, not told']);
    expect([frozen.size, frozen.readOnly, frozen.told]).toEqual([size, false, machine.disk.tell()]);
    expect(driveOf(frozen).direct).toBe(options.cache === 'direct');
    const copies = await Promise.all([1, 2].map(() => Machine.with(Disk.ofFrozen(frozen.hold()))));
    await frozen.release();
    await frozen.release();
    machine.write(0, Buffer.alloc(8192, 2));
    copies[0]!.write(16, Buffer.alloc(4096, 3));
    ask(copies[0]!.bench, discard([0, 4]));
    const first = Buffer.from(content)
      .fill(3, 16 * 512, 24 * 512)
      .fill(0, 0, 4 * 512);
    expect((await contentOf(copies[0]!.disk.medium)).equals(first)).toBe(true);
    expect((await contentOf(copies[1]!.disk.medium)).equals(content)).toBe(true);
    for (const { disk } of copies) {
      expect(disk.drive).toEqual({ ...machine.disk.drive, buckets: disk.drive.buckets });
      expect([disk.size, disk.readOnly, disk.medium!.layout]).toEqual([size, false, machine.disk.medium!.layout]);
    }
    // A copy of a copy, whose machine has gone.
    const again = await copies[0]!.disk.freeze();
    const third = await Machine.with(Disk.ofFrozen(again.hold()));
    await again.release();
    for (const each of [machine, ...copies]) await each.end();
    await machine.disk[Symbol.asyncDispose]();
    expect((await contentOf(third.disk.medium)).equals(first)).toBe(true);
    await third.end();
    expect(openFiles()).toEqual(before);
  });

  test('that nobody copies any more is told to keep nothing, as soon as its machine can be', async () => {
    const { machine } = await opened(options);
    machine.write(0, Buffer.alloc(4096, 1));
    const { length } = openFiles();
    const frozen = await machine.disk.freeze();
    machine.write(0, Buffer.alloc(4096, 2));
    expect(openFiles().length).toBeGreaterThan(length);
    machine.failure = new Error('busy');
    await frozen.release();
    await new Promise((resolve) => setTimeout(resolve, 20));
    machine.failure = undefined;
    const second = await machine.disk.freeze();
    await second.release();
    await vi.waitFor(() => expect(machine.changes).toHaveLength(3));
    const { histories } = machine.disk.medium!.open as { histories?: readonly unknown[] };
    expect(histories).toEqual([]);
    await machine.end();
    await machine.disk[Symbol.asyncDispose]();
    expect(openFiles()).toEqual(before);
  });

  test('is frozen, and copied, in no machine as well', async () => {
    const { path, content } = image();
    const disk = await Disk.open(path, options);
    const frozen = await disk.freeze();
    await disk[Symbol.asyncDispose]();
    const copy = await Machine.with(Disk.ofFrozen(frozen.hold()));
    expect((await contentOf(copy.disk.medium)).equals(content)).toBe(true);
    await copy.end();
    await frozen.release();
    expect(openFiles()).toEqual(before);
    await expect(disk.freeze()).rejects.toThrow(/has been disposed/);
  });
});

test('an image that is taken out lives on in what was frozen of it', async () => {
  const { machine, content, path } = await opened({ removable: true });
  const frozen = await machine.disk.freeze();
  machine.write(0, Buffer.alloc(4096, 2));
  await machine.disk.swap(await Disk.open(image().path));
  expect(frozen.reference).toMatchObject({ path, size, ino: String(statSync(path).ino) });
  await expect(openDiskFile({ path })).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_LOCKED' });
  const copy = await Machine.with(Disk.ofFrozen(frozen.hold()));
  await frozen.release();
  expect((await contentOf(copy.disk.medium)).equals(content)).toBe(true);
  expect(readFileSync(path).subarray(0, 4096)).toEqual(Buffer.alloc(4096, 2));
  await copy.disk.resize(size + 4096);
  expect((await contentOf(copy.disk.medium)).subarray(size)).toEqual(Buffer.alloc(4096));
  await copy.end();
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('an empty drive is an empty drive, of the sort that its driver knows', async () => {
  const { machine } = await opened({ removable: true, readOnly: true });
  await machine.disk.swap(null);
  await machine.disk.prepareFreeze();
  const frozen = await machine.disk.freeze();
  expect([frozen.size, frozen.readOnly, frozen.reference]).toEqual([0, true, undefined]);
  const copy = await Machine.with(Disk.ofFrozen(frozen.hold()));
  await frozen.release();
  expect([copy.disk.size, copy.disk.readOnly, copy.disk.medium]).toEqual([0, true, undefined]);
  expect(copy.disk.tell()).toEqual({ ...machine.disk.tell(), size: 0 });
  await expect(copy.disk.swap(await Disk.open(image().path, { readOnly: true }))).resolves.toBeUndefined();
  expect(copy.disk.size).toBe(size);
  await copy.end();
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('a copy tells the driver that goes on what it was told; the next one hears what is there', async () => {
  const { machine } = await opened({ removable: true, readOnly: true });
  await machine.disk.swap(await Disk.open(image().path)); // it could be written, and the guest does not know that
  const frozen = await machine.disk.freeze();
  const copy = Disk.ofFrozen(frozen.hold());
  await copy.attach(machine, { what: 'disk3', warn: () => {}, signal: new AbortController().signal });
  expect([copy.tell().readOnly, copy.tell().readOnly]).toEqual([true, false]);
  await copy.detach();
  const other = await Disk.open(image().path, { readOnly: true });
  await other.attach(machine, { what: 'disk3', warn: () => {}, signal: new AbortController().signal });
  other.assume({ size, readOnly: false, blockSize: 512, ioSize: 4096 });
  expect(() => other.tell()).toThrow(/is writable for its guest/);
  await other.detach();
  await other[Symbol.asyncDispose]();
  await frozen.release();
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('functions of the program cannot be frozen, and the error says what to do', async () => {
  const disk = Disk.from({ size, read: () => {}, write: () => {} });
  const machine = await Machine.with(disk);
  const expected = {
    code: 'ERR_TSVMM_SNAPSHOT',
    message: expect.stringMatching(/^disk3 is made of functions of the program/),
    hint: expect.stringContaining('disks: { 3: ... }'),
  };
  await expect(disk.prepareFreeze()).rejects.toMatchObject(expected);
  await expect(disk.freeze()).rejects.toMatchObject(expected);
  await machine.end();
});

test('what is not open, and what its machine cannot stop for, stays as it is', async () => {
  const { path } = image();
  const closed = Disk.ofOptions('disks[0]', { path });
  await expect(closed.freeze()).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
  const { machine } = await opened();
  machine.failure = new Error('the machine is busy');
  await expect(machine.disk.freeze({ timeout: 10 })).rejects.toThrow('the machine is busy');
  machine.failure = undefined;
  const change = vi.spyOn(machine, 'change').mockImplementation(async ({ prepare }) => {
    await prepare();
    throw new Error('it has gone');
  });
  await expect(machine.disk.freeze()).rejects.toThrow('it has gone');
  change.mockRestore();
  machine.write(0, Buffer.alloc(4096, 1));
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('a copy that no machine ever had lets go of what it is of', async () => {
  const { machine } = await opened();
  const frozen = await machine.disk.freeze();
  const copy = Disk.ofFrozen(frozen.hold());
  await frozen.release();
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).not.toEqual(before);
  await copy[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('a medium that cannot be put in leaves the one before, and what is frozen of it', async () => {
  const { machine, content } = await opened();
  const frozen = await machine.disk.freeze();
  const { open } = machine.disk.medium!;
  const broken = {
    open: { ...open, histories: [...(open as unknown as { histories: object[] }).histories, undefined] },
  };
  const change = { syncs: false, isTold: false, prepare: async () => broken, commit: vi.fn() };
  await expect(machine.change(change as unknown as MediumChange)).rejects.toThrow(TypeError);
  expect(change.commit).not.toHaveBeenCalled();
  machine.write(0, Buffer.alloc(4096, 1));
  const copy = await Machine.with(Disk.ofFrozen(frozen.hold()));
  expect((await contentOf(copy.disk.medium)).equals(content)).toBe(true);
  await frozen.release();
  for (const each of [copy, machine]) await each.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

/** A machine that stands still. */
const standing = (machine: { capture(): Promise<unknown>; checkCapture?(): void }): PowerCycle =>
  ({ checkCapture: () => {}, ...machine }) as unknown as PowerCycle;

test('nothing is frozen of a machine that cannot be captured', async () => {
  const { machine } = await opened();
  const refused = standing({
    capture: vi.fn(),
    checkCapture() {
      throw new Error('it holds answers');
    },
  });
  await expect(freezeMachine(refused, [machine.disk], undefined, {})).rejects.toThrow('it holds answers');
  expect(machine.changes).toEqual([]);
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('its size in memory and as it is frozen are the same, whoever changes it meanwhile', async () => {
  const { machine } = await opened({ removable: true });
  let changing: Promise<unknown> = Promise.resolve();
  const capture = async (): Promise<object> => {
    changing = Promise.all([machine.disk.resize(2 * size), machine.disk.swap(await Disk.open(image().path))]);
    await delay(20);
    expect(machine.disk.size).toBe(size);
    return {};
  };
  const { frozen } = await freezeMachine(standing({ capture }), [machine.disk], undefined, {});
  await changing;
  expect(machine.disk.size).toBe(size); // the other one's
  expect(frozen.all[0]!.size).toBe(size);
  await frozen.release();
  await expect(
    freezeMachine(standing({ capture: () => Promise.reject(new Error('no room')) }), [machine.disk], undefined, {}),
  ).rejects.toThrow('no room');
  await machine.disk.resize(3 * size); // nobody holds it any more
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('what was frozen before it was put into a drive is forgotten by that drive', async () => {
  const { machine } = await opened({ removable: true });
  const next = await Disk.open(image().path);
  await next.prepareFreeze();
  const frozen = await next.freeze();
  await machine.disk.swap(next);
  expect(machine.changes).toEqual(['synced, told']);
  await frozen.release();
  await until(() => machine.changes.length === 2);
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test('a machine that does not start leaves nothing of its copies', async () => {
  const { machine } = await opened();
  const { frozen } = await freezeMachine(standing({ capture: async () => ({}) }), [machine.disk], undefined, {});
  const start = (): Promise<never> => Promise.reject(new Error('it did not start'));
  await expect(frozen.forOne(new Map(), start)).rejects.toThrow('it did not start');
  await frozen.release();
  await until(() => machine.changes.length === 2); // it need not keep anything any more
  await machine.end();
  await machine.disk[Symbol.asyncDispose]();
  expect(openFiles()).toEqual(before);
});

test.each([{}, { ephemeral: true }] as const)(
  'that is closed while a freeze is prepared leaves nothing open (%o)',
  async (options) => {
    for (let turns = 0; turns < 12; turns++) {
      const { path } = image();
      const machine = await Machine.with(Disk.ofOptions('disk3', { path, ...options }));
      const preparing = machine.disk.prepareFreeze().catch(() => {});
      for (let turn = 0; turn < turns; turn++) await delay(0);
      await machine.end();
      await preparing;
      expect(openFiles()).toEqual(before);
    }
  },
);

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(2);
}
