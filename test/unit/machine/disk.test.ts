/** Disks as the program has them, in a machine that does what it is told. */
import { mkdtempSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openDiskFile } from '../../../src/disk/disk-file.js';
import { Disk } from '../../../src/machine/disk.js';
import type { DiskHost, MediumChange } from '../../../src/machine/disk-host.js';
import type { DiskOptions } from '../../../src/machine/disk-options.js';
import type { RateLimit } from '../../../src/virtio/rate-limit.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-disk-'));
afterAll(() => rmSync(directory, { recursive: true }));
let files = 0;
function image(size = 2 ** 20, fill = 7): string {
  const path = join(directory, `image${files++}`);
  writeFileSync(path, Buffer.alloc(size, fill));
  return path;
}

/** A machine with one drive. */
class FakeMachine implements DiskHost {
  readonly changes: { readonly syncs: boolean; readonly size: number }[] = [];
  readonly limits: (RateLimit | undefined)[] = [];
  failure: Error | undefined;
  #held: Promise<void> | undefined;

  /** Changes wait until the result is called. */
  hold(): () => void {
    let release!: () => void;
    this.#held = new Promise((resolve) => {
      release = resolve;
    });
    return release;
  }

  async change(change: MediumChange): Promise<void> {
    await this.#held;
    if (this.failure !== undefined) throw this.failure;
    const medium = await change.prepare();
    change.commit(medium);
    this.changes.push({ syncs: change.syncs, size: medium?.open.size ?? 0 });
  }

  limit(limit: RateLimit | undefined): void {
    this.limits.push(limit);
  }
}

const attached = (disk: Disk, machine: FakeMachine): Promise<void> =>
  disk.attach(machine, { what: 'disk0', warn: () => {}, signal: new AbortController().signal });

const aMoment = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 20));

async function inMachine(disk: Disk): Promise<FakeMachine> {
  const machine = new FakeMachine();
  await attached(disk, machine);
  disk.tell();
  return machine;
}

/** Whether somebody may open it for writing, and nobody has. */
const isFree = (path: string): Promise<boolean> =>
  openDiskFile({ path }).then(
    async (file) => {
      await file.close();
      return true;
    },
    () => false,
  );

const open = (options: Omit<DiskOptions, 'path'> = {}, path = image()) => Disk.open(path, options);

test('an image that is open belongs to the disk, over one machine after another, until it is disposed of', async () => {
  const path = image();
  const disk = await Disk.open(path);
  expect([disk.size, disk.readOnly]).toEqual([2 ** 20, false]);
  for (let i = 0; i < 2; i++) {
    await inMachine(disk);
    await expect(inMachine(disk)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_LOCKED' });
    await disk.detach();
    expect(await isFree(path)).toBe(false);
  }
  await disk[Symbol.asyncDispose]();
  await disk[Symbol.asyncDispose]();
  expect(await isFree(path)).toBe(true);
  await expect(inMachine(disk)).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
});

test('what cannot be opened is refused as a machine refuses it', async () => {
  await expect(Disk.open(join(directory, 'none'))).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
  await expect(Disk.open(image(700))).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_FORMAT' });
  await expect(Disk.open(image(), { readonly: true } as never)).rejects.toThrow(/Disk\.open: .* "readonly"/);
});

describe('resize', () => {
  test('extends the file, in a machine and without one', async () => {
    const path = image();
    const disk = await Disk.open(path);
    await disk.resize('2M');
    expect([disk.size, statSync(path).size]).toEqual([2 ** 21, 2 ** 21]);
    const machine = await inMachine(disk);
    await disk.resize('4M');
    expect([disk.size, statSync(path).size, disk.medium!.open.size]).toEqual([2 ** 22, 2 ** 22, 2 ** 22]);
    expect(machine.changes).toEqual([{ syncs: false, size: 2 ** 22 }]);
    truncateSync(path, 2 ** 24); // somebody has made room: the file stays as large
    await disk.resize('8M');
    expect([disk.size, statSync(path).size]).toEqual([2 ** 23, 2 ** 24]);
    expect(
      readFileSync(path)
        .subarray(0, 2 ** 20)
        .equals(Buffer.alloc(2 ** 20, 7)),
    ).toBe(true);
    await disk.detach();
    await disk[Symbol.asyncDispose]();
  });

  test('that is under way is waited for by a machine', async () => {
    const disk = await open({ ephemeral: true });
    const resized = disk.resize('2M');
    await inMachine(disk);
    expect(disk.tell().size).toBe(2 ** 21);
    await resized;
    await disk.detach();
    await disk[Symbol.asyncDispose]();
  });

  test.each<[string, Omit<DiskOptions, 'path'>, unknown, RegExp]>([
    ['a smaller size', {}, '512K', /less than the 1M of/],
    ['half a sector', {}, 2 ** 20 + 256, /cannot have 1048832 bytes/],
    ['no size', {}, 'more', /"more" is not a size/],
    ['a read-only disk', { readOnly: true }, '2M', /read-only/],
    ['more than the file system takes', {}, 2 ** 52, /cannot be extended to/],
  ])('refuses %s, and all is as it was', async (_, options, size, message) => {
    const path = image();
    const disk = await Disk.open(path, options);
    const machine = await inMachine(disk);
    await expect(disk.resize(size as number)).rejects.toThrow(message);
    expect([disk.size, statSync(path).size, machine.changes]).toEqual([2 ** 20, 2 ** 20, []]);
    await disk.detach();
    await disk[Symbol.asyncDispose]();
  });

  test('of an ephemeral disk leaves the image alone, and what grows is empty', async () => {
    const path = image();
    const disk = await open({ ephemeral: { limit: '1M' } }, path);
    await inMachine(disk);
    await disk.resize('3M');
    expect([disk.size, statSync(path).size]).toEqual([3 * 2 ** 20, 2 ** 20]);
    expect(statSync(`/proc/self/fd/${(disk.medium!.open as { overlay: number }).overlay}`).size).toBe(3 * 2 ** 20);
    await disk.detach();
    await disk[Symbol.asyncDispose]();
  });

  test('of functions asks them for more, in the next machine as well', async () => {
    const asked: number[] = [];
    const disk = Disk.from({ size: 4096, read: (offset) => void asked.push(offset) });
    await expect(disk.resize(8192)).rejects.toThrow(/is not open/);
    await inMachine(disk);
    await disk.resize(8192);
    expect(disk.size).toBe(8192);
    await disk.detach();
    await inMachine(disk);
    expect(disk.size).toBe(8192);
    await disk.detach();
  });
});

describe('swap', () => {
  test('closes what was in it, and stands for what is', async () => {
    const [first, second] = [image(), image(2 ** 21)];
    const disk = await open({ removable: true }, first);
    const machine = await inMachine(disk);
    const next = await Disk.open(second, { serial: 'ignored' });
    await disk.swap(next);
    expect(machine.changes).toEqual([{ syncs: true, size: 2 ** 21 }]);
    expect([disk.size, disk.medium!.name]).toEqual([2 ** 21, second]);
    expect([await isFree(first), await isFree(second)]).toEqual([true, false]);
    for (const use of [() => next.resize('4M'), () => inMachine(next), () => disk.swap(next)])
      await expect(use()).rejects.toThrow(/has become what is in another disk/);
    expect(() => next.size).toThrow(/has become/);
    await next[Symbol.asyncDispose](); // nothing
    await disk.swap(null);
    expect([disk.size, disk.medium]).toEqual([0, undefined]);
    expect(disk.tell()).toMatchObject({ size: 0, readOnly: false, blockSize: 512 });
    expect(await isFree(second)).toBe(true);
    await expect(disk.resize('1M')).rejects.toThrow(/is not open/);
    await disk.swap(await Disk.open(first));
    expect(disk.size).toBe(2 ** 20);
    await disk.detach();
    await disk[Symbol.asyncDispose]();
    expect(await isFree(first)).toBe(true);
  });

  test('an image for functions, and functions for an image', async () => {
    const disk = Disk.from({ size: 4096, read: () => {}, write: () => {} }, { removable: true });
    await inMachine(disk);
    const path = image();
    await disk.swap(await Disk.open(path));
    expect(disk.medium!.open.kind).toBe('file');
    await disk.swap(Disk.from({ size: 8192, read: () => {}, write: () => {} }));
    expect([disk.medium!.open.kind, disk.size, await isFree(path)]).toEqual(['user', 8192, true]);
    await disk.detach();
  });

  test('what does not fit is refused, is not used up, and the drive is as it was', async () => {
    const path = image();
    const disk = await open({ removable: true }, path);
    const machine = await inMachine(disk);
    const readOnly = await open({ readOnly: true });
    const coarse = Disk.from({ size: 4096, blockSize: 4096, read: () => {}, write: () => {} });
    await expect(disk.swap(readOnly)).rejects.toThrow(/is writable for its guest, and .* is read-only/);
    await expect(disk.swap(coarse)).rejects.toThrow(/has blocks of 512 bytes for its guest, and .* has blocks of 4096/);
    await expect(disk.swap(disk)).rejects.toThrow(/itself/);
    await expect(disk.swap('disk.img' as never)).rejects.toThrow(/expected a disk or null/);
    machine.failure = new Error('the machine is busy');
    const next = await open();
    await expect(disk.swap(next)).rejects.toThrow(/busy/);
    machine.failure = undefined;
    expect([disk.medium!.name, machine.changes]).toEqual([path, []]);
    await disk.swap(next);
    const elsewhere = await inMachine(readOnly);
    expect(elsewhere.changes).toEqual([]);
    for (const each of [disk, readOnly]) {
      await each.detach();
      await each[Symbol.asyncDispose]();
    }
  });

  test('needs a removable disk in a machine, and one that no other machine has', async () => {
    const fixed = await open();
    const removable = await open({ removable: true });
    const busy = await open();
    await inMachine(fixed);
    await expect(fixed.swap(null)).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE', hint: /removable: true/ });
    await expect(removable.swap(null)).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
    await inMachine(removable);
    await inMachine(busy);
    await expect(removable.swap(busy)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_LOCKED' });
    for (const each of [fixed, removable, busy]) {
      await each.detach();
      await each[Symbol.asyncDispose]();
    }
  });

  test('while another takes it over it is neither closed nor changed', async () => {
    for (const failure of [undefined, new Error('the machine is busy')]) {
      const [disk, path] = [await open({ removable: true }), image()];
      const machine = await inMachine(disk);
      const next = await Disk.open(path);
      const release = machine.hold();
      const swapped = disk.swap(next).catch((error) => error.message);
      await aMoment();
      const resized = next.resize('4M').catch((error) => error.message);
      const disposed = next[Symbol.asyncDispose]();
      await aMoment();
      expect([await isFree(path), statSync(path).size]).toEqual([false, 2 ** 20]);
      machine.failure = failure;
      release();
      expect(await swapped).toBe(failure?.message);
      await disposed;
      expect(await resized).toMatch(failure === undefined ? /has become/ : /has been disposed/);
      expect(await isFree(path)).toBe(failure !== undefined);
      machine.failure = undefined;
      await disk.detach();
      await disk[Symbol.asyncDispose]();
      expect(await isFree(path)).toBe(true);
    }
  });

  test('in which the machine ends while the next one is opened is none, and leaves nothing open', async () => {
    const disk = await open({ removable: true });
    const machine = await inMachine(disk);
    let answer!: () => void;
    const answered = new Promise<void>((resolve) => {
      answer = resolve;
    });
    const next = Disk.from({ size: 4096, read: () => answered });
    const swapped = disk.swap(next).catch((error) => error.message);
    await aMoment();
    await disk.detach();
    machine.failure = new Error('the machine is stopped');
    answer();
    expect(await swapped).toBe('the machine is stopped');
    expect(disk.medium).toBeUndefined();
    await inMachine(disk);
    await disk.detach();
    await disk[Symbol.asyncDispose]();
  });

  test('what does not fit what the driver has been told meanwhile is refused', async () => {
    const disk = await open({ removable: true });
    const machine = new FakeMachine();
    await attached(disk, machine);
    const release = machine.hold();
    const readOnly = await open({ readOnly: true });
    const swapped = disk.swap(readOnly);
    swapped.catch(() => {});
    await aMoment();
    disk.tell();
    release();
    await expect(swapped).rejects.toThrow(/is writable for its guest/);
    for (const each of [disk, readOnly]) {
      if (each === disk) await each.detach();
      await each[Symbol.asyncDispose]();
    }
  });

  test('many at once come one after the other', async () => {
    const disk = await open({ removable: true });
    const machine = await inMachine(disk);
    const nexts = await Promise.all([1, 2, 3, 4].map((mebibytes) => open({}, image(mebibytes * 2 ** 20))));
    await Promise.all(nexts.map((next) => disk.swap(next)));
    expect(machine.changes.map(({ size }) => size / 2 ** 20)).toEqual([1, 2, 3, 4]);
    await disk.detach();
    await disk[Symbol.asyncDispose]();
  });
});

describe('disposed of in a machine', () => {
  test('an image is taken out and closed', async () => {
    const path = image();
    const disk = await Disk.open(path);
    const machine = await inMachine(disk);
    await disk[Symbol.asyncDispose]();
    expect(machine.changes).toEqual([{ syncs: true, size: 0 }]);
    expect(await isFree(path)).toBe(true);
    await expect(disk.resize('2M')).rejects.toThrow(/has been disposed/);
    await disk.detach();
  });

  test('that cannot take it out, it is closed when the machine has ended', async () => {
    const path = image();
    const disk = await Disk.open(path);
    const machine = await inMachine(disk);
    machine.failure = new Error('the machine ends');
    const disposed = disk[Symbol.asyncDispose]();
    await new Promise((resolve) => setImmediate(resolve));
    expect(await isFree(path)).toBe(false);
    await disk.detach();
    await disposed;
    expect(await isFree(path)).toBe(true);
  });
});

test('functions that are disposed of while they are exchanged give back what takes their place', async () => {
  const path = image();
  const disk = Disk.from({ size: 4096, read: () => {}, write: () => {} }, { removable: true });
  const machine = await inMachine(disk);
  const release = machine.hold();
  const swapped = disk.swap(await Disk.open(path));
  await aMoment();
  const disposed = disk[Symbol.asyncDispose]();
  await aMoment();
  release();
  await swapped;
  await disposed;
  await disk.detach();
  expect(await isFree(path)).toBe(true);
});

test('a limit is told to the machine, and kept for the next', async () => {
  const disk = await open({ limit: { opsPerSecond: 10 } });
  expect(disk.drive.limit).toMatchObject({ opsPerSecond: 10 });
  const machine = await inMachine(disk);
  disk.setLimit({ bytesPerSecond: '1M', bytesBurst: '4M' });
  disk.setLimit(null);
  expect(machine.limits).toEqual([
    { bytesPerSecond: 2 ** 20, bytesBurst: 2 ** 22, opsPerSecond: undefined, opsBurst: undefined },
    undefined,
  ]);
  expect(() => disk.setLimit({ opsPerSecond: -1 })).toThrow(/setLimit\.opsPerSecond: -1/);
  expect(disk.drive.limit).toBeUndefined();
  await disk.detach();
  await disk[Symbol.asyncDispose]();
});
