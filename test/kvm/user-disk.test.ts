/** Disks of the program's own functions, on its main thread and in a module's worker, under tiny guests. */
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { Disk, type DiskHandlers, VirtualMachine, type Warning } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import { haveTools, run } from '../unit/boot/fs/images.js';
import { checksum, pattern, scratchFolder, sectorBytes } from './support/disks.js';
import { type GuestOptions, guestFile, holdings, runGuest, startGuest, whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

const scratch = scratchFolder();
const never = whyNoKvm !== undefined;

const memoryDisk = (content: Buffer, other: Partial<DiskHandlers> = {}): DiskHandlers => ({
  size: content.length,
  read: async (offset, into) => void content.copy(into, 0, offset, offset + into.length),
  write: async (offset, data) => void data.copy(content, offset),
  flush: async () => {},
  ...other,
});

let modules = 0;
/** A disk of a module with this text. */
function moduleDisk(text: string, data?: unknown): Disk {
  const file = scratch.file(`disk-${modules++}.mjs`, Buffer.from(text));
  return Disk.fromModule(pathToFileURL(file), data);
}

/** `content` as a shared buffer, so that the test sees what the module's functions have written. */
const sharedModule = (content: SharedArrayBuffer): Disk =>
  moduleDisk(
    `import { isMainThread } from 'node:worker_threads';
     export default async (shared) => {
       if (isMainThread) throw new Error('on the main thread');
       const content = Buffer.from(shared);
       return {
         size: content.length,
         async read(offset, into) { content.copy(into, 0, offset, offset + into.length); },
         async write(offset, data) { data.copy(content, offset); },
         flush() {},
       };
     };`,
    content,
  );

async function endOf(name: string, options: GuestOptions) {
  const warnings: Warning[] = [];
  const vm = await startGuest(name, { console: { buffer: '1M' }, ...options });
  vm.on('warning', (warning) => warnings.push(warning));
  const exit = await vm.exited;
  return { exit, output: exit.consoleTail, warnings };
}

describe.skipIf(never)('a disk of functions', () => {
  test.each([
    'by=msix',
    'by=poll indirect event-index segments=3',
    'queue-size=256 depth=64 chunk=2 indirect',
    'segments=32 chunk=16 depth=8 indirect',
    'decline=flush depth=8',
  ])('is written and read by the guest (%s)', async (how) => {
    const content = Buffer.alloc(128 * sectorBytes);
    const cmdline = `${how} start=8 sectors=64 seed=77`;
    const output = await runClean('virtio-blk', { disks: [Disk.from(memoryDisk(content))], cmdline });
    expect(output).toContain('blk write: 64 sectors from 8 written and read back\n');
    expect(output).toContain('blk id: "tsvmm-disk0"\n');
    expect(content.subarray(8 * sectorBytes, 72 * sectorBytes).equals(pattern(8, 64, 77))).toBe(true);
    expect(content.subarray(72 * sectorBytes).every((byte) => byte === 0)).toBe(true);
  });

  test.each([true, false])('is discarded and zeroed by the guest (by functions for that: %s)', async (own) => {
    const content = pattern(0, 3072, 9);
    const expected = Buffer.from(content).fill(0, 64 * sectorBytes, 1600 * sectorBytes);
    const calls = { discard: 0, zeroes: 0 };
    const clearing: Partial<DiskHandlers> = {
      discard: async (offset, length) => {
        calls.discard++;
        content.fill(0, offset, offset + length);
      },
      zeroes: async (offset, length) => {
        calls.zeroes++;
        content.fill(0, offset, offset + length);
      },
    };
    const cmdline = `by=msix start=64 sectors=1536 tests=write,clear`;
    const { output } = await runGuest('virtio-blk', {
      disks: [Disk.from(memoryDisk(content, own ? clearing : {}))],
      cmdline,
    });
    if (own) {
      expect(output).toContain('blk clear: 1536 sectors from 64 are zero\n');
      expect(content.equals(expected)).toBe(true);
    }
    expect(calls.discard > 0 && calls.zeroes > 0).toBe(own);
  });

  test('of a module runs in a worker of its own, and ends with the machine', async () => {
    const shared = new SharedArrayBuffer(128 * sectorBytes);
    const disk = sharedModule(shared);
    expect(() => disk.size).toThrow(/before a machine has started/);
    await runClean('virtio-blk', { disks: [disk], cmdline: 'sectors=64 seed=5 depth=8' });
    expect(disk.size).toBe(128 * sectorBytes);
    expect(disk.readOnly).toBe(false);
    expect(Buffer.from(shared, 0, 64 * sectorBytes).equals(pattern(0, 64, 5))).toBe(true);
    const before = holdings();
    for (let i = 0; i < 3; i++)
      await runClean('virtio-blk', { disks: [disk], cmdline: 'sectors=64 seed=5 tests=verify' });
    await expect.poll(() => holdings().threads, { timeout: 5000 }).toBeLessThanOrEqual(before.threads);
    expect(holdings().fds).toBeLessThanOrEqual(before.fds + 1);
  });

  test('without write is read-only', async () => {
    const content = pattern(0, 64, 9);
    const { write: _, ...handlers } = memoryDisk(content);
    const disks = [Disk.from(handlers)];
    expect(disks[0]!.readOnly).toBe(true);
    const output = await runClean('virtio-blk', { disks, cmdline: 'seed=9 tests=verify,range,odd,read-only' });
    expect(output).toContain('blk read-only: write refused, content unchanged\n');
    const forced = await runGuest('virtio-blk', { disks, cmdline: 'decline=ro tests=write' });
    expect(forced.output).toMatch(/^FAIL: request of type 1 at sector \d+: status 1$/m);
  });

  test('keeps what was written over a reboot, and stands beside files', async () => {
    const content = Buffer.alloc(8 * sectorBytes);
    const disks = [Disk.from(memoryDisk(content)), scratch.file('beside.img', 8 * sectorBytes)];
    const { exit, output } = await endOf('reset', { disks, cmdline: 'by=acpi count=3 store=disk' });
    expect(exit).toMatchObject({ reason: 'power-off', debugExit: 0 });
    expect([...output.matchAll(/start (\d+) of/g)].map((match) => Number(match[1]))).toEqual([1, 2, 3]);
  });

  test('that fails is an I/O error to the guest, with the reason in a warning; the machine goes on', async () => {
    const content = Buffer.alloc(64 * sectorBytes);
    const read = async (): Promise<void> => {
      throw new Error('the far end has gone');
    };
    const disk = Disk.from(memoryDisk(content, { read, blockSize: 512 }));
    const { exit, output, warnings } = await endOf('virtio-blk', {
      disks: [disk],
      cmdline: 'start=8 sectors=8 tests=checksum',
    });
    expect(output).toMatch(/FAIL: request of type 0 at sector 8: status 1/);
    expect(exit.reason).toBe('power-off');
    expect(warnings).toContainEqual(
      expect.objectContaining({
        source: 'host',
        device: 'disk0',
        message: expect.stringMatching(/^disk read of \d+ bytes at byte 4096 failed: the far end has gone$/),
        cause: expect.objectContaining({ message: 'the far end has gone' }),
      }),
    );
  });

  test('that fails while the machine starts is named in its error', async () => {
    const read = async (): Promise<never> => {
      throw new Error('the far end has gone');
    };
    const error = await startGuest('halt', { disks: [Disk.from({ size: '1M', read })] }).catch((cause) => cause);
    expect(error).toMatchObject({
      code: 'ERR_TSVMM_DISK_IO',
      message: expect.stringMatching(/^disk0: read of \d+ bytes at byte 0 failed: the far end has gone$/),
    });
  });

  test('that never answers: an I/O error at its deadline, and an end that does not wait', async () => {
    const content = Buffer.alloc(64 * sectorBytes);
    const signals: AbortSignal[] = [];
    const hanging = (timeout: number): Disk =>
      Disk.from(
        memoryDisk(content, {
          timeout,
          blockSize: 512,
          read: (_offset, _into, { signal }) => {
            signals.push(signal);
            return new Promise(() => {});
          },
        }),
      );
    const late = await endOf('virtio-blk', { disks: [hanging(50)], cmdline: 'sectors=8 tests=checksum' });
    expect(late.output).toMatch(/FAIL: request of type 0 at sector 0: status 1/);
    expect(late.warnings[0]?.message).toMatch(/no answer in 50 ms/);
    const vm = await startGuest('virtio-blk', { disks: [hanging(100_000)], cmdline: 'sectors=8 tests=checksum' });
    await expect.poll(() => signals.length).toBe(2);
    const started = Date.now();
    expect(await vm.kill()).toMatchObject({ reason: 'killed' });
    expect(Date.now() - started).toBeLessThan(10_000);
    expect(signals.map(({ aborted }) => aborted)).toEqual([true, true]);
    expect(signals[1]!.reason).toMatchObject({ name: 'AbortError' });
  });

  test('is in one machine at a time, and none after it was disposed', async () => {
    const content = pattern(0, 64, 9);
    const disk = Disk.from(memoryDisk(content));
    await using vm = await startGuest('spin', { disks: [disk] });
    await expect(startGuest('halt', { disks: [disk] })).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_LOCKED',
      message: 'disk0 is in use by another machine',
    });
    await vm.kill();
    await expect(startGuest('halt', { disks: [disk, disk] })).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_LOCKED' });
    await runClean('virtio-blk', { disks: [disk], cmdline: 'sectors=64 seed=9 tests=verify' });
    await disk[Symbol.asyncDispose]();
    await expect(startGuest('halt', { disks: [disk] })).rejects.toMatchObject({ code: 'ERR_TSVMM_STATE' });
  });

  test('that is disposed while a machine uses it fails every request', async () => {
    const content = Buffer.alloc(4096 * sectorBytes);
    let disposed: Promise<void> | undefined;
    const disk: Disk = Disk.from({
      ...memoryDisk(content),
      write: async () => {
        disposed ??= disk[Symbol.asyncDispose]();
      },
    });
    const { output, warnings } = await endOf('virtio-blk', {
      disks: [disk],
      cmdline: 'sectors=4096 tests=write,write',
    });
    await disposed;
    expect(output).toMatch(/FAIL: request of type [01] at sector \d+: status 1/);
    expect(warnings.map(({ message }) => message).join()).toContain('the disk has been disposed; every request fails');
  });

  test('gives nothing back late: a buffer that is written to afterwards is nobody else’s', async () => {
    const content = pattern(0, 128, 3);
    const disk = Disk.from({
      size: content.length,
      read: async (offset, into) => {
        content.copy(into, 0, offset, offset + into.length);
        setTimeout(() => into.fill(0xee), 1);
      },
    });
    const output = await runClean('virtio-blk', {
      disks: [disk],
      cmdline: 'seed=3 sectors=128 chunk=1 depth=16 tests=verify,checksum',
    });
    expect(output).toContain(`blk checksum: ${checksum(content)}\n`);
  });

  const dying = (how: string): string => `export default () => {
    let reads = 0;
    return {
      size: ${64 * sectorBytes},
      blockSize: 512,
      timeout: 1000,
      read() { if (reads++ === 1) { ${how} } },
      write() {},
    };
  };`;
  test.each([
    [
      'throws where nobody catches it',
      "setTimeout(() => { throw new Error('bang'); }); return new Promise(() => {});",
      /bang/,
    ],
    ['ends its thread', 'process.exit(3)', /ended by itself with code 3/],
    ['blocks its thread', 'for (;;);', /blocks its thread/],
  ])('of a module that %s: requests fail from then on, the machine goes on', async (_how, how, why) => {
    const { exit, output, warnings } = await endOf('virtio-blk', {
      disks: [moduleDisk(dying(how))],
      cmdline: 'sectors=8 chunk=1 depth=1 tests=checksum',
    });
    expect(output).toMatch(/FAIL: request of type 0 at sector 1: status 1/);
    expect(exit.reason).toBe('power-off');
    expect(warnings.map(({ message }) => message).join('\n')).toMatch(why);
    expect(warnings.map(({ message }) => message).join('\n')).toContain('every request fails from now on');
  });

  test.each([
    ['cannot be loaded', 'this is no program', 'ERR_TSVMM_CONFIG', /cannot be used: /],
    ['has no default export', 'export const disk = {};', 'ERR_TSVMM_CONFIG', /its default export is no function/],
    ['fails', "export default () => { throw new Error('no luck'); };", 'ERR_TSVMM_CONFIG', /cannot be used: no luck/],
    ['makes no disk', 'export default () => 7;', 'ERR_TSVMM_CONFIG', /answered with no object/],
    ['makes a wrong one', 'export default () => ({ size: 100, read() {} });', 'ERR_TSVMM_CONFIG', /size: 100 is not/],
    ['has no read', 'export default () => ({ size: 512 });', 'ERR_TSVMM_CONFIG', /read: expected a function/],
    [
      'has an unknown option',
      'export default () => ({ size: 512, read() {}, raed: 1 });',
      'ERR_TSVMM_CONFIG',
      /"raed"/,
    ],
    ['ends at once', 'process.exit(4);', 'ERR_TSVMM_WORKER_DIED', /ended by itself with code 4/],
  ])('of a module that %s is refused', async (_what, text, code, message) => {
    const before = holdings();
    const error = await startGuest('halt', { disks: [moduleDisk(text)] }).catch((cause) => cause);
    expect(error).toMatchObject({ code, message: expect.stringMatching(message) });
    await expect.poll(() => holdings().threads, { timeout: 5000 }).toBeLessThanOrEqual(before.threads + 4);
  });

  test('data that cannot be cloned, and an abort while a module loads', async () => {
    const text = 'export default () => new Promise(() => {});';
    const disk = moduleDisk(text, () => {});
    await expect(startGuest('halt', { disks: [disk] })).rejects.toMatchObject({ code: 'ERR_TSVMM_CONFIG' });
    const signal = AbortSignal.timeout(300);
    const error = await startGuest('halt', { disks: [moduleDisk(text)], signal }).catch((cause) => cause);
    expect(error).toBe(signal.reason);
  });

  test('keeps no program alive by itself', async () => {
    const { spawnSync } = await import('node:child_process');
    const program = scratch.file(
      'unref.mjs',
      Buffer.from(`import { Disk, VirtualMachine } from 'tsvmm';
        Disk.from({ size: 512, read() {} });
        const disk = Disk.fromModule(new URL('data:text/javascript,export default () => ({ size: 512, read() {} })'));
        const disks = [Disk.from({ size: 512, read() {} }), disk];
        const boot = { kernel: ${JSON.stringify(guestFile('spin'))} };
        const vm = await VirtualMachine.start({ memory: '64M', disks, boot });
        vm.unref();`),
    );
    const inside = join(import.meta.dirname, `../../.cache/test/unref-${process.pid}.mjs`);
    mkdirSync(join(inside, '..'), { recursive: true });
    copyFileSync(program, inside);
    const { status, stderr } = spawnSync(process.execPath, [inside], { encoding: 'utf8', timeout: 30_000 });
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });
});

describe.skipIf(never || !haveTools('mke2fs'))('a boot', () => {
  test.each(['functions', 'a module'])('from a disk of %s', async (how) => {
    const root = scratch.path(`root-${modules++}`);
    mkdirSync(join(root, 'boot/grub'), { recursive: true });
    copyFileSync(guestFile('hello'), join(root, 'boot/vmlinuz-1'));
    writeFileSync(
      join(root, 'boot/grub/grub.cfg'),
      "menuentry 'one' { search --file --set=root /boot/vmlinuz-1\nlinux /boot/vmlinuz-1\n}\n",
    );
    const path = `${root}.img`;
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-O', '^has_journal', '-d', root, path, '8M']);
    const content = readFileSync(path);
    let reads = 0;
    const shared = new SharedArrayBuffer(content.length);
    content.copy(Buffer.from(shared));
    const disk =
      how === 'functions'
        ? Disk.from({
            size: content.length,
            read: async (offset, into) => {
              expect(offset % 512).toBe(0);
              expect(into.length % 512).toBe(0);
              reads++;
              return content.subarray(offset, offset + into.length);
            },
          })
        : sharedModule(shared);
    await using vm = await VirtualMachine.start({ memory: '64M', disks: [disk], onReboot: 'exit' });
    const exit = await vm.exited;
    expect(exit).toMatchObject({ reason: 'power-off', debugExit: 0 });
    expect(reads).toBeGreaterThan(how === 'functions' ? 3 : -1);
  });
});
