/** Disks that change while their guest runs: what is in them, how large they are, how much they may do. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { Disk, type VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { scratchFolder, sectorBytes } from './support/disks.js';
import { type GuestOptions, holdings, runGuest, startGuest, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();

/** A disk whose first word is `first` and whose last sector begins with `last`. */
function content(sectors: number, first: number, last: number): Buffer {
  const bytes = Buffer.alloc(sectors * sectorBytes);
  bytes.writeUInt32LE(first, 0);
  bytes.writeUInt32LE(last, (sectors - 1) * sectorBytes);
  return bytes;
}
const image = (name: string, ...shape: Parameters<typeof content>): string =>
  scratch.file(name, content(...shape)) as string;

const found = (sectors: number, first: string, last: string): RegExp =>
  new RegExp(`^drive: ${sectors} sectors \\(told (\\d+) times\\), status \\d ${first}, status \\d ${last}$`, 'm');

async function watch(options: GuestOptions): Promise<VirtualMachine> {
  return startGuest('drive', options);
}

describe.skipIf(whyNoKvm !== undefined).each(['pci', 'mmio'] as const)('over virtio-%s', (transport) => {
  test('a guest that reads all the time finds another disk in its drive, none, and one again', async () => {
    const [first, second] = [image('a.img', 64, 0xa1, 0xa2), image('b.img', 128, 0xb1, 0xb2)];
    await using vm = await watch({ disks: [{ path: first, removable: true }], transport, cmdline: 'write until=32' });
    const [drive] = vm.disks;
    await vm.console.waitFor(found(64, '0xa1', '0xa2'));
    await drive!.swap(await Disk.open(second));
    await vm.console.waitFor(found(128, '0xb1', '0xb2'));
    await drive!.swap(null);
    await vm.console.waitFor(/^drive: 0 sectors \(told [1-9]\d* times\), status 1 0x0, status 1 0x0$/m);
    const memory = content(256, 0xc1, 0xc2);
    const functions = Disk.from({
      size: memory.length,
      read: (offset, into) => void memory.copy(into, 0, offset),
      write: (offset, data) => void data.copy(memory, offset),
    });
    await drive!.swap(functions);
    await vm.console.waitFor(found(256, '0xc1', '0xc2'));
    await drive!.swap(await Disk.open(image('c.img', 32, 0xd1, 0xd2), { ephemeral: true }));
    expect((await vm.exited).reason).toBe('power-off');
    // What it had written to each went there.
    for (const path of [first, second]) expect(readFileSync(path).readUInt32LE(sectorBytes)).toBeGreaterThan(0);
    expect(memory.readUInt32LE(sectorBytes)).toBeGreaterThan(0);
  });

  test('a disk grows under its guest', async () => {
    const path = image('grows.img', 64, 1, 2);
    await using vm = await watch({ disks: [path], transport, cmdline: 'write until=4096' });
    const [disk] = vm.disks;
    await vm.console.waitFor(found(64, '0x1', '0x2'));
    await disk!.resize(128 * sectorBytes);
    await vm.console.waitFor(found(128, '0x1', '0x0'));
    expect([disk!.size, statSync(path).size]).toEqual([128 * sectorBytes, 128 * sectorBytes]);
    await disk!.resize('2M');
    expect((await vm.exited).reason).toBe('power-off');
  });
});

describe.skipIf(whyNoKvm !== undefined)('a drive', () => {
  test('has after a reset what was put into it before, also if that is nothing', async () => {
    const path = image('before.img', 64, 1, 2);
    const cmdline = 'reset=128 until=32';
    await using vm = await watch({ disks: [{ path, removable: true }], cmdline });
    const [drive] = vm.disks;
    await vm.console.waitFor(found(64, '0x1', '0x2'));
    const reboot = new Promise<void>((resolve) => vm.once('reboot', () => resolve()));
    await drive!.swap(await Disk.open(image('reset.img', 128, 3, 4)));
    await reboot;
    // It resets at once and for ever; between two power cycles as well the drive can be changed.
    await drive!.swap(null);
    await vm.console.waitFor(/^drive: 0 sectors \(told \d+ times\), status 1/m);
    await drive!.swap(await Disk.open(image('after.img', 32, 5, 6)));
    expect((await vm.exited).reason).toBe('power-off');
  });

  test('is changed again and again under load, and nothing is left behind', async () => {
    const paths = [1, 2, 3].map((n) => image(`load${n}.img`, 64, n, n + 16));
    await (async () => {
      await using vm = await watch({ disks: [{ path: paths[0]!, removable: true }], cmdline: 'write until=1' });
      await vm.console.waitFor(found(64, '0x1', '0x11'));
      const before = holdings();
      for (let i = 1; i <= 60; i++) await vm.disks[0]!.swap(i % 4 === 0 ? null : await Disk.open(paths[(i % 4) % 3]!));
      await vm.disks[0]!.swap(await Disk.open(paths[2]!));
      await vm.console.waitFor(found(64, '0x3', '0x13'));
      expect(holdings()).toEqual(before);
      expect(vm.metrics().devices['disk0']).toMatchObject({ throttled: 0 });
    })();
    for (const path of paths) await (await Disk.open(path))[Symbol.asyncDispose](); // nobody has it
  });

  test('that cannot be quiet in time stays as it is', async () => {
    let release!: () => void;
    const stuck = new Promise<void>((resolve) => {
      release = resolve;
    });
    let reads = 0;
    const memory = content(64, 7, 8);
    const disk = Disk.from(
      {
        size: memory.length,
        async read(offset, into) {
          memory.copy(into, 0, offset);
          if (++reads === 10) await stuck;
        },
      },
      { removable: true },
    );
    await using vm = await watch({ disks: [disk] });
    await vm.console.waitFor(found(64, '0x7', '0x8'));
    while (reads < 10) await new Promise((resolve) => setTimeout(resolve, 5));
    const next = await Disk.open(image('late.img', 128, 9, 10), { readOnly: true });
    await expect(disk.swap(next, { timeout: 100 })).rejects.toMatchObject({ code: 'ERR_TSVMM_TIMEOUT' });
    await expect(disk.swap(next, { timeout: 10 })).rejects.toMatchObject({ code: 'ERR_TSVMM_TIMEOUT' });
    await expect(disk.swap(next, { timeout: 'soon' as never })).rejects.toThrow(/"soon" is not a duration/);
    await expect(disk.swap(next, { signal: AbortSignal.abort(new Error('no')) })).rejects.toThrow('no');
    release();
    await disk.swap(next);
    await vm.console.waitFor(found(128, '0x9', '0xa'));
  });

  test('that is exchanged while its machine opens another disk is what its guest finds', async () => {
    let answer!: () => void;
    const asked = new Promise<void>((resolve) => {
      answer = resolve;
    });
    let reads = 0;
    const slow = Disk.from({ size: 64 * sectorBytes, read: () => (reads++ === 0 ? asked : undefined) });
    const drive = await Disk.open(image('early.img', 64, 1, 2), { removable: true });
    const starting = watch({ disks: [drive, slow], cmdline: 'write until=128' });
    while (reads === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    const swapped = drive.swap(await Disk.open(image('second.img', 96, 3, 4)));
    await new Promise((resolve) => setTimeout(resolve, 20));
    answer();
    await swapped;
    await using vm = await starting;
    await vm.console.waitFor(found(96, '0x3', '0x4'));
    await drive.swap(await Disk.open(image('third.img', 128, 5, 6)));
    expect((await vm.exited).reason).toBe('power-off');
    await drive[Symbol.asyncDispose]();
  });

  test('whose functions never answer does not keep the end of its machine waiting', async () => {
    const never = new Promise<void>(() => {});
    for (const hasDriver of [true, false]) {
      let [reads, flushes] = [0, 0];
      const disk = Disk.from(
        {
          size: 64 * sectorBytes,
          read: () => (++reads >= 10 && hasDriver ? never : undefined),
          write: () => {},
          flush: () => {
            flushes++;
            return never;
          },
        },
        { removable: true },
      );
      // A driver of another device leaves this one alone.
      const disks = hasDriver ? [disk] : [image('other.img', 64, 1, 2), disk];
      await using vm = await watch({ disks });
      await vm.console.waitFor('drive: 64 sectors');
      while (hasDriver && reads < 10) await new Promise((resolve) => setTimeout(resolve, 5));
      const swapped = disk.swap(null).catch((error) => error.code);
      do await new Promise((resolve) => setTimeout(resolve, 20));
      while (!hasDriver && flushes === 0);
      const begun = performance.now();
      await vm.kill();
      expect(performance.now() - begun).toBeLessThan(5000);
      expect(await swapped).toBe('ERR_TSVMM_STATE');
    }
  });

  test('that is changed while its machine ends says so or is changed, and nobody waits for ever', async () => {
    for (let i = 0; i < 10; i++) {
      const path = image('end.img', 64, 1, 2);
      await using vm = await watch({ disks: [{ path, removable: true }] });
      await vm.console.waitFor(found(64, '0x1', '0x2'));
      const next = await Disk.open(image('next.img', 128, 3, 4));
      const swapped = vm.disks[0]!.swap(next).then(
        () => 'swapped',
        (error) => error.code,
      );
      if (i % 2 === 0) await new Promise((resolve) => setImmediate(resolve));
      await vm.kill();
      expect(['swapped', 'ERR_TSVMM_STATE']).toContain(await swapped);
      await next[Symbol.asyncDispose]();
      for (const name of ['end.img', 'next.img'])
        await (await Disk.open(join(path, '..', name)))[Symbol.asyncDispose](); // nobody has it
    }
  });
});

describe.skipIf(whyNoKvm !== undefined)('a rate limit', () => {
  const records = 60;
  const cmdline = `count=${records} slots=16`;
  const disk = () => {
    const path = scratch.file('limited.img', 16 * 8 * sectorBytes) as string;
    writeFileSync(path, Buffer.alloc(16 * 8 * sectorBytes));
    return path;
  };

  test.each([
    ['operations', { opsPerSecond: 100, opsBurst: 1 }, (2 * records - 2) / 100],
    ['bytes', { bytesPerSecond: '100K', bytesBurst: 512 }, ((records - 3) * 4 * 512) / (100 * 1024)],
  ] as const)('of %s holds the guest back, and it gets all done', async (_, limit, seconds) => {
    const started = performance.now();
    const { output } = await runGuest('records', { disks: [{ path: disk(), limit }], cmdline });
    expect(output).toContain(`records ok: ${records}\n`);
    expect(performance.now() - started).toBeGreaterThan(seconds * 1000);
  });

  test('is changed and taken away while the guest waits for it', async () => {
    await using vm = await startGuest('records', {
      disks: [{ path: disk(), limit: { opsPerSecond: 1, opsBurst: 2 } }],
      cmdline,
    });
    await vm.console.waitFor('record 1\n');
    while (vm.metrics().devices['disk0']!['throttled'] === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    vm.disks[0]!.setLimit({ opsPerSecond: 1000 });
    await vm.console.waitFor('record 20\n');
    vm.disks[0]!.setLimit(null);
    await vm.console.waitFor(`records ok: ${records}\n`);
    expect((await vm.exited).reason).toBe('power-off');
  });

  test('of one disk leaves the others alone', async () => {
    await using slow = await startGuest('records', {
      disks: [{ path: disk(), limit: { opsPerSecond: 1, opsBurst: 1 } }],
      cmdline,
    });
    await slow.console.waitFor('records: from 1\n');
    const { output } = await runGuest('records', { disks: [scratch.file('free.img', 16 * 8 * sectorBytes)], cmdline });
    expect(output).toContain(`records ok: ${records}\n`);
    expect(slow.console.tail).not.toContain('record 20\n');
  });
});
