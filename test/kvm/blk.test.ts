import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, statSync, truncateSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { accessModes, checksum, pattern, readSectors, scratchFolder, sectorBytes } from './support/disks.js';
import { type GuestOptions, holdings, runGuest, startGuest, whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

const scratch = scratchFolder();
const never = whyNoKvm !== undefined;

describe.skipIf(never)('a virtio disk', () => {
  test.each([
    'by=msix',
    'by=intx',
    'by=poll',
    'indirect',
    'event-index',
    'by=intx indirect event-index',
    'by=poll indirect event-index segments=3',
    'queue-size=4 depth=1 chunk=1',
    'queue-size=16 depth=5 chunk=3',
    'queue-size=256 depth=64 chunk=2 indirect',
    'queue-size=256 depth=64 chunk=1 event-index',
    'segments=32 chunk=16 depth=2',
    'segments=32 chunk=16 depth=8 indirect',
    'decline=flush depth=8',
  ])('is written by the guest as the host then reads it (%s)', async (how) => {
    const path = scratch.file('written.img', 128 * sectorBytes);
    const output = await runClean('virtio-blk', {
      disks: [{ path, serial: 'guest-disk' }],
      cmdline: `${how} start=8 sectors=64 seed=77`,
    });
    expect(output).toContain('blk write: 64 sectors from 8 written and read back\n');
    expect(output).toContain(how.includes('flush') ? 'blk flush: not offered\n' : 'blk flush: done\n');
    expect(output).toContain('blk id: "guest-disk"\n');
    expect(output).toContain('blk range: 6 requests refused\n'); // T11
    expect(output).toContain('blk odd: 2 requests refused\n');
    if (how.includes('intx')) expect(output).toMatch(/^blk intx: pin (1[6-9]|2[0-3]), \d+ spurious$/m);
    const zeros = (sectors: number) => Buffer.alloc(sectors * sectorBytes);
    const expected = Buffer.concat([zeros(8), pattern(8, 64, 77), zeros(128 - 8 - 64)]);
    expect(readFileSync(path).equals(expected)).toBe(true);
  });

  test.each(['by=msix depth=8', 'by=poll indirect segments=5'])(
    'is read by the guest as the host wrote it (%s)',
    async (how) => {
      const content = pattern(0, 128, 4_000_000_000); // words that wrap at 2^32
      const path = scratch.file('read.img', content);
      const output = await runClean('virtio-blk', {
        disks: [path],
        cmdline: `${how} seed=4000000000 sectors=128 tests=verify,checksum`,
      });
      expect(output).toContain('blk verify: 128 sectors from 0\n');
      expect(output).toContain(`blk checksum: ${checksum(content)}\n`);
      expect(readFileSync(path).equals(content)).toBe(true);
    },
  );

  test.each([
    [false, 'by=msix'],
    [false, 'by=poll decline=flush segments=2'],
    [true, 'by=msix indirect'],
  ])('is discarded and zeroed by the guest: holes and zeroes (ephemeral: %s, %s)', async (ephemeral, how) => {
    const content = pattern(0, 3072, 9);
    const path = scratch.file('cleared.img', content);
    const output = await runClean('virtio-blk', {
      disks: [{ path, ephemeral }],
      cmdline: `${how} start=64 sectors=1536 tests=write,clear`,
    });
    expect(output).toContain('blk clear: 1536 sectors from 64 are zero\n');
    const expected = ephemeral ? content : Buffer.from(content).fill(0, 64 * sectorBytes, 1600 * sectorBytes);
    expect(readFileSync(path).equals(expected)).toBe(true);
    // The two thirds that were given back take no room any more.
    if (!ephemeral) expect(statSync(path).blocks * 512).toBeLessThanOrEqual((3072 - 1024 + 32) * sectorBytes);
  });

  test.each([
    ['direct', 'by=msix'],
    ['direct', 'by=poll segments=3'],
    ['direct', 'decline=flush depth=8 chunk=16'],
    ['unsafe', 'by=msix'],
    ['unsafe', 'decline=flush'],
  ] as const)('is written with cache %s as the host then reads it (%s)', async (cache, how) => {
    const path = scratch.file('cache.img', 128 * sectorBytes);
    await runClean('virtio-blk', {
      disks: [{ path, cache }],
      cmdline: `${how} start=8 sectors=64 seed=77 tests=write,flush`,
    });
    const zeros = (sectors: number) => Buffer.alloc(sectors * sectorBytes);
    expect(readFileSync(path).equals(Buffer.concat([zeros(8), pattern(8, 64, 77), zeros(56)]))).toBe(true);
  });

  test('that is read-only refuses writes and is opened for reading only (T17, T32)', async () => {
    const content = pattern(0, 64, 9);
    const path = scratch.file('read-only.img', content);
    const disks = [{ path, readOnly: true }];
    const output = await runClean('virtio-blk', { disks, cmdline: 'seed=9 tests=verify,range,odd,read-only' });
    expect(output).toContain('read-only 1\n');
    expect(output).toContain('blk read-only: write refused, content unchanged\n');
    expect(output).toContain('blk range: 6 requests refused\n');
    // A driver that does not care for the feature gets I/O errors all the same.
    const forced = await runGuest('virtio-blk', { disks, cmdline: 'decline=ro tests=write' });
    expect(forced.output).toContain('read-only 0\n');
    expect(forced.output).toMatch(/^FAIL: request of type 1 at sector \d+: status 1$/m);
    await using _vm = await startGuest('halt', { disks });
    expect(accessModes(path).length).toBeGreaterThan(0);
    expect(accessModes(path).every((mode) => mode === 0)).toBe(true);
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  test('that is ephemeral shows the guest its writes, and the file stays as it was', async () => {
    const content = pattern(0, 128, 3);
    const path = scratch.file('ephemeral.img', content);
    const disks = [{ path, ephemeral: true }];
    const writes = 'start=5 sectors=77 chunk=7 depth=3 seed=1000 indirect segments=2';
    const output = await runClean('virtio-blk', { disks, cmdline: writes });
    expect(output).toContain('blk write: 77 sectors from 5 written and read back\n');
    expect(output).toContain('blk flush: done\n');
    expect(readFileSync(path).equals(content)).toBe(true);
    // The next machine starts from the file again.
    await runClean('virtio-blk', { disks, cmdline: 'sectors=128 seed=3 tests=verify' });
    await using _vm = await startGuest('halt', { disks });
    expect(accessModes(path).every((mode) => mode === 0)).toBe(true);
  });

  test('is found in the order of the options, with its serial number', async () => {
    const disks = [
      scratch.file('order-0.img', 8 * sectorBytes),
      { path: scratch.file('order-1.img', 16 * sectorBytes), serial: 'twenty bytes exactly' },
      { path: scratch.file('order-2.img', 24 * sectorBytes), readOnly: true },
    ];
    const seen = await Promise.all(
      [0, 1].map((device) =>
        runClean('virtio-blk', {
          disks: disks.map((disk) => ({ ...(typeof disk === 'string' ? { path: disk } : disk), readOnly: true })),
          cmdline: `device=${device} tests=id sectors=8`,
        }),
      ),
    );
    expect(seen[0]).toContain('blk: 8 sectors');
    expect(seen[0]).toContain('blk id: "tsvmm-disk0"\n');
    expect(seen[1]).toContain('blk: 16 sectors');
    expect(seen[1]).toContain('blk id: "twenty bytes exactly"\n');
    const last = await runClean('virtio-blk', { disks, cmdline: 'device=2 tests=id sectors=8' });
    expect(last).toMatch(/^blk: 24 sectors, .* read-only 1$/m);
    await runClean('virtio-blk', { disks, cmdline: 'device=1 seed=6 sectors=16 tests=write' });
    expect(readSectors(join(scratch.path('order-1.img')), 0, 16).equals(pattern(0, 16, 6))).toBe(true);
    expect(readFileSync(scratch.path('order-0.img')).every((byte) => byte === 0)).toBe(true);
  });

  test('of one sector works', async () => {
    const path = scratch.file('one.img', sectorBytes);
    await runClean('virtio-blk', { disks: [path], cmdline: 'sectors=1 chunk=1 seed=8' });
    expect(readFileSync(path).equals(pattern(0, 1, 8))).toBe(true);
  });

  test('of 1 TiB is written at its end, and only that takes room', async () => {
    const bytes = 2 ** 40;
    const path = scratch.file('sparse.img', bytes);
    const start = bytes / sectorBytes - 8;
    const output = await runClean('virtio-blk', { disks: [path], cmdline: `start=${start} sectors=8 seed=5` });
    expect(output).toContain(`blk: ${bytes / sectorBytes} sectors`);
    expect(output).toContain(`blk write: 8 sectors from ${start} written and read back\n`);
    expect(readSectors(path, start, 8).equals(pattern(start, 8, 5))).toBe(true);
    expect(statSync(path)).toMatchObject({ size: bytes });
    expect(statSync(path).blocks * 512).toBeLessThan(2 ** 20);
  });

  test('of 1 TiB can be ephemeral', async () => {
    const path = scratch.file('sparse-ephemeral.img', 2 ** 40);
    const start = 2 ** 40 / sectorBytes - 8;
    await runClean('virtio-blk', { disks: [{ path, ephemeral: true }], cmdline: `start=${start} sectors=8` });
    expect(statSync(path).blocks).toBe(0);
  });

  test('that is ephemeral with a limit takes that much and fails what is beyond it', async () => {
    const path = scratch.file('limited.img', 1 << 20);
    const disks = [{ path, ephemeral: { limit: '64K' as const } }];
    await runClean('virtio-blk', { disks, cmdline: 'sectors=128 tests=write' });
    const { output, exit } = await runGuest('virtio-blk', {
      disks,
      cmdline: 'sectors=129 chunk=1 depth=1 tests=write',
    });
    expect(output).toMatch(/^FAIL: request of type 1 at sector 128: status 1$/m);
    expect(exit.reason).toBe('power-off');
  });

  test('that is ephemeral keeps what was written over a reboot', async () => {
    const content = pattern(0, 64, 3);
    const path = scratch.file('reboot.img', content);
    const disks = [{ path, ephemeral: true }];
    const vm = await startGuest('reset', { disks, cmdline: 'by=i8042 count=2 store=disk' });
    let reboots = 0;
    vm.on('reboot', () => {
      if (++reboots > 1) void vm.kill(); // it never comes to an end if it forgets that it has started before
    });
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
    expect(vm.console.tail).toMatch(/reset: start 1 of 2\s+reset: start 2 of 2/);
    expect(readFileSync(path).equals(content)).toBe(true);
  });

  test('keeps what was written over a reboot, and over a machine', async () => {
    const path = scratch.file('starts.img', 8 * sectorBytes);
    for (const [last, starts] of [
      [3, [1, 2, 3]],
      [5, [4, 5]],
    ] as const) {
      const vm = await startGuest('reset', { disks: [path], cmdline: `by=acpi count=${last} store=disk` });
      expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
      const seen = [...vm.console.tail.matchAll(/start (\d+) of/g)].map((match) => Number(match[1]));
      expect(seen).toEqual(starts);
    }
  });

  test('is one of as many as a machine can have', async () => {
    const disks = Array.from({ length: 24 }, (_, i) => scratch.file(`many-${i}.img`, (i + 1) * 8 * sectorBytes));
    const output = await runClean('virtio-blk', { disks, cmdline: 'device=23 sectors=192 tests=flush,id' });
    expect(output).toContain('blk: 192 sectors');
    expect(output).toContain('blk id: "tsvmm-disk23"\n');
    const error = await startGuest('halt', { disks: [...disks, scratch.file('too-many.img', sectorBytes)] }).catch(
      (e) => e,
    );
    expect(error).toMatchObject({ code: 'ERR_TSVMM_CONFIG', message: expect.stringContaining('25') });
  });

  test.each(['shared', 'own'] as const)('of several machines at once on I/O workers that are %s', async (ioWorker) => {
    await Promise.all(
      Array.from({ length: 4 }, async (_, i) => {
        const path = scratch.file(`${ioWorker}-${i}.img`, 64 * sectorBytes);
        await runClean('virtio-blk', {
          disks: [path],
          ioWorker,
          cmdline: `seed=${i} depth=16 chunk=1 tests=write,flush`,
        });
        expect(readFileSync(path).equals(pattern(0, 64, i))).toBe(true);
      }),
    );
  });

  test('counts what the guest did', async () => {
    const path = scratch.file('counted.img', 64 * sectorBytes);
    const vm = await startGuest('virtio-blk', { disks: [path], cmdline: 'sectors=64 chunk=8' });
    let metrics: ReturnType<typeof vm.metrics> | undefined;
    vm.on('state', (to) => {
      if (to === 'stopping') metrics = vm.metrics();
    });
    expect(await vm.exited).toMatchObject({ debugExit: 0 });
    const bytes = 64 * sectorBytes;
    // The last sector is read once more, to see that what comes behind it is refused: 6 of these, and 1 of part of a sector.
    const rung = expect.any(Number);
    expect(metrics!.devices['disk0']).toEqual({
      reads: 8 + 1,
      writes: 8,
      flushes: 1,
      bytesRead: bytes + sectorBytes,
      bytesWritten: bytes,
      errors: 7,
      discards: 0,
      writeZeroes: 0,
      throttled: 0,
      doorbells: rung,
      interrupts: rung,
      suppressedInterrupts: rung,
    });
    const timed = Object.entries(metrics!.latencies['disk0']!).map(([kind, counts]) => [
      kind,
      counts.reduce((a, b) => a + b),
    ]);
    expect(Object.fromEntries(timed)).toEqual({ read: 9, write: 8, flush: 1, clear: 0 });
  });

  test('is free again after a kill in the middle of its I/O (T53)', async () => {
    const path = scratch.file('killed.img', 4096 * sectorBytes);
    await runClean('virtio-blk', { disks: [path], cmdline: 'tests=id' });
    const before = holdings();
    for (const ms of [0, 20, 60, 120]) {
      const vm = await startGuest('virtio-blk', { disks: [path], cmdline: 'sectors=4096 depth=16 chunk=64' });
      await new Promise((resolve) => setTimeout(resolve, ms));
      expect(await vm.kill()).toMatchObject({ reason: 'killed' });
    }
    expect(accessModes(path)).toEqual([]);
    await expect.poll(() => holdings().fds, { timeout: 5000 }).toBeLessThanOrEqual(before.fds + 1);
    await runClean('virtio-blk', { disks: [path], cmdline: 'sectors=64' });
  });
});

describe.skipIf(never)('a host file that fails', () => {
  test('cut short while in use: reads behind its end are I/O errors, with a warning', async () => {
    const path = scratch.file('cut.img', 1024 * sectorBytes);
    const vm = await startGuest('virtio-blk', { disks: [path], cmdline: 'start=512 sectors=8 tests=checksum' });
    const warnings: unknown[] = [];
    vm.on('warning', (warning) => warnings.push(warning));
    truncateSync(path, 256 * sectorBytes); // the guest has not come as far as its first request yet
    const exit = await vm.exited;
    expect(exit.consoleTail).toMatch(/FAIL: request of type 0 at sector 512: status 1/);
    expect(warnings).toContainEqual(
      expect.objectContaining({ source: 'host', message: expect.stringMatching(/read at byte 262144 failed/) }),
    );
  });

  test('and is to stop the machine: it ends with why, and the guest sees nothing', async () => {
    const path = scratch.file('stopped.img', 1024 * sectorBytes);
    const disks = [{ path, onError: 'stop' as const }];
    const vm = await startGuest('virtio-blk', { disks, cmdline: 'start=512 sectors=8 tests=checksum' });
    truncateSync(path, 256 * sectorBytes); // the guest has not come as far as its first request yet
    const exit = await vm.exited;
    expect(exit).toMatchObject({
      reason: 'error',
      error: { code: 'ERR_TSVMM_DISK_IO', message: `${JSON.stringify(path)}: a disk read failed: EIO` },
    });
    expect(exit.consoleTail).not.toContain('FAIL');
    expect(accessModes(path)).toEqual([]);
  });

  test('removed while in use: the guest notices nothing, and nobody finds its writes', async () => {
    const path = scratch.file('removed.img', 64 * sectorBytes);
    const vm = await startGuest('virtio-blk', { disks: [path], cmdline: 'sectors=64 tests=write,flush' });
    const warnings: unknown[] = [];
    vm.on('warning', (warning) => warnings.push(warning));
    rmSync(path); // a name is no part of what is open
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
    expect(warnings).toEqual([]);
    await expect(startGuest('halt', { disks: [path] })).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
  });

  const mount = scratch.path('small');
  const whyNoMount = ((): string | undefined => {
    if (never) return whyNoKvm;
    try {
      mkdirSync(mount);
      execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=128k', 'tmpfs', mount], { stdio: 'ignore' });
      afterAll(() => execFileSync('umount', ['-l', mount]));
      return undefined;
    } catch {
      return 'a small file system needs root to be mounted';
    }
  })();
  if (whyNoMount !== undefined) console.log(`full file system: skipped: ${whyNoMount}`);

  test.skipIf(whyNoMount !== undefined)(
    'full: the write is an I/O error, with a warning, and others go on',
    async () => {
      const path = scratch.file('small/full.img', 1024 * sectorBytes);
      const other = scratch.file('not-full.img', 128 * sectorBytes);
      const neighbour = runClean('virtio-blk', { disks: [other], cmdline: 'sectors=128' });
      const vm = await startGuest('virtio-blk', { disks: [path], cmdline: 'sectors=1024 chunk=32 tests=write' });
      const warnings: unknown[] = [];
      vm.on('warning', (warning) => warnings.push(warning));
      const exit = await vm.exited;
      expect(exit.consoleTail).toMatch(/FAIL: request of type 1 at sector \d+: status 1/);
      expect(warnings).toContainEqual(
        expect.objectContaining({ source: 'host', message: expect.stringMatching(/ENOSPC/) }),
      );
      await neighbour;
    },
  );
});

describe.skipIf(never)('a disk that cannot be used is refused before anything runs', () => {
  const refusal = (options: GuestOptions) =>
    startGuest('halt', options).then(
      async (vm) => {
        await vm.kill();
        throw new Error('the machine started');
      },
      (error: unknown) => error,
    );

  test('one that another machine writes, by name; two that only read may share it', async () => {
    const path = scratch.file('locked.img', 64 * sectorBytes);
    await using writer = await startGuest('halt', { name: 'writer', disks: [path] });
    const locked = {
      code: 'ERR_TSVMM_DISK_LOCKED',
      message: expect.stringContaining('locked.img'),
      hint: expect.any(String),
    };
    expect(await refusal({ disks: [path] })).toMatchObject(locked);
    expect(await refusal({ disks: [{ path, readOnly: true }] })).toMatchObject(locked);
    expect(await refusal({ disks: [path, path] })).toMatchObject(locked);
    await writer.kill();
    await using _one = await startGuest('halt', { disks: [{ path, readOnly: true }] });
    await using _two = await startGuest('halt', { disks: [{ path, readOnly: true }] });
    await using _three = await startGuest('halt', { disks: [{ path, ephemeral: true }] });
    expect(await refusal({ disks: [path] })).toMatchObject(locked);
  });

  const head = (bytes: (string | number)[]): Buffer => {
    const image = Buffer.alloc(8 * sectorBytes);
    let at = 0;
    for (const part of bytes)
      at += typeof part === 'string' ? image.write(part, at, 'latin1') : image.writeUInt8(part, at) - at;
    return image;
  };
  const footer = Buffer.alloc(8 * sectorBytes);
  footer.write('conectix', 7 * sectorBytes, 'latin1');
  test.each([
    ['qcow2', head(['QFI', 0xfb, 0, 0, 0, 3])],
    ['VHD', head(['conectix'])],
    ['VHD', footer],
    ['VHDX', head(['vhdxfile'])],
    ['VMDK', head(['KDMV'])],
  ])('an image in the format %s (T28)', async (format, content) => {
    const path = scratch.file(`${format}.img`, content);
    const error = await refusal({ disks: [path] });
    expect(error).toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringContaining(format),
      hint: expect.stringContaining('qemu-img convert'),
    });
    expect((error as Error).message).toContain(path);
    // The user knows better: raw by its name is not probed.
    await using _vm = await startGuest('halt', { disks: [{ path, format: 'raw' }] });
  });

  test('one whose size is no multiple of 512, an empty one, a directory', async () => {
    const broken = { code: 'ERR_TSVMM_DISK_FORMAT', hint: expect.any(String) };
    const truncated = scratch.file('truncated.img', 8 * sectorBytes + 100);
    expect(await refusal({ disks: [truncated] })).toMatchObject({
      ...broken,
      message: expect.stringContaining('4196 bytes'),
    });
    const empty = scratch.file('empty.img', 0);
    expect(await refusal({ disks: [empty] })).toMatchObject({ ...broken, message: expect.stringContaining('empty') });
    mkdirSync(scratch.path('folder'));
    expect(await refusal({ disks: [scratch.path('folder')] })).toMatchObject({
      ...broken,
      message: expect.stringContaining('directory'),
    });
    expect(await refusal({ disks: [scratch.path('nothing.img')] })).toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
  });
});
