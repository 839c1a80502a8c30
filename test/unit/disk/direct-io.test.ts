import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { type DiskFileOptions, openDiskFile } from '../../../src/disk/disk-file.js';
import { TsvmmError } from '../../../src/errors.js';
import { FileMedium } from '../../../src/machine/file-medium.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-direct-'));
const undo: (() => void)[] = [];
afterAll(() => {
  for (const step of undo.reverse()) step();
  rmSync(directory, { recursive: true });
});

const O_DIRECT = 0o40_000;
const O_NONBLOCK = 0o4_000;
const flagsOf = (fd: number): number =>
  Number.parseInt(/flags:\s+(\d+)/.exec(readFileSync(`/proc/self/fdinfo/${fd}`, 'utf8'))![1]!, 8);

let count = 0;
function image(size: number, folder = directory): string {
  const path = join(folder, `image${count++}`);
  writeFileSync(path, Buffer.alloc(size, 7));
  return path;
}

async function refusal(options: DiskFileOptions): Promise<TsvmmError> {
  const result = await openDiskFile(options).then(
    async (disk) => {
      await disk.close();
      return 'opened';
    },
    (error: unknown) => error,
  );
  expect(result).toBeInstanceOf(TsvmmError);
  return result as TsvmmError;
}

test('only a disk that asks for it is past the page cache', async () => {
  for (const cache of ['writeback', 'unsafe', undefined] as const) {
    await using disk = await openDiskFile({ path: image(8192), cache });
    if (disk.open.kind !== 'file') throw new Error();
    expect([disk.open.direct, flagsOf(disk.open.fd) & O_DIRECT]).toEqual([undefined, 0]);
    expect(disk.open.unsafe).toBe(cache === 'unsafe');
  }
});

describe('a disk past the page cache', () => {
  test('is open so, and says what transfers must keep to', async () => {
    const path = image(8192);
    await using disk = await openDiskFile({ path, cache: 'direct' });
    if (disk.open.kind !== 'file') throw new Error();
    expect(flagsOf(disk.open.fd) & (O_DIRECT | O_NONBLOCK)).toBe(O_DIRECT);
    const { memory, offset } = disk.open.direct!;
    expect([512, 4096]).toContain(offset);
    expect(Math.log2(memory) % 1).toBe(0);
  });

  test('is, when it is ephemeral, the image, and not what is written', async () => {
    await using disk = await openDiskFile({ path: image(8192), ephemeral: true, cache: 'direct' });
    if (disk.open.kind !== 'overlay') throw new Error();
    expect([flagsOf(disk.open.layers[0]!.fd) & O_DIRECT, flagsOf(disk.open.overlay) & O_DIRECT]).toEqual([O_DIRECT, 0]);
    expect(disk.open.direct).toBeDefined();
  });

  test('on a file system without such a thing is refused by name', async () => {
    const path = '/sys/kernel/uevent_seqnum'; // a regular file of 4096 bytes to stat(2)
    const { code, message, hint } = await refusal({ path, readOnly: true, cache: 'direct' });
    expect(code).toBe('ERR_TSVMM_DISK_IO');
    expect(message).toMatch(/uevent_seqnum" cannot be used with cache 'direct'/);
    expect(hint).toMatch(/writeback/);
  });

  test('where the kernel does not say what it needs, is found by trying', async (context) => {
    if (!existsSync('/dev/shm')) return context.skip('no tmpfs at /dev/shm');
    const folder = mkdtempSync('/dev/shm/tsvmm-direct-');
    undo.push(() => rmSync(folder, { recursive: true }));
    const result = await openDiskFile({ path: image(8192, folder), cache: 'direct' }).catch((error: unknown) => error);
    // tmpfs has direct I/O since Linux 6.6.
    if (result instanceof TsvmmError) return expect(result.code).toBe('ERR_TSVMM_DISK_IO');
    await using disk = result as Awaited<ReturnType<typeof openDiskFile>>;
    expect([512, 4096]).toContain(disk.open.direct!.offset);
  });
});

describe('on a device with blocks of 4096 bytes', () => {
  /** A file system on one, where that can be had. */
  const folder = join(directory, 'mounted');
  const whyNot = ((): string | undefined => {
    const backing = join(directory, 'backing');
    writeFileSync(backing, '');
    truncateSync(backing, 64 * 2 ** 20);
    try {
      const device = execFileSync('losetup', ['-f', '--show', '-b', '4096', backing], {
        encoding: 'utf8',
        stdio: ['ignore', 'pipe', 'ignore'],
      }).trim();
      undo.push(() => void spawnSync('losetup', ['-d', device]));
      execFileSync('mkfs.ext4', ['-q', '-b', '4096', device], { stdio: 'ignore' });
      mkdirSync(folder);
      execFileSync('mount', [device, folder], { stdio: 'ignore' });
      undo.push(() => void spawnSync('umount', [folder]));
      return undefined;
    } catch {
      return 'a loop device needs root';
    }
  })();
  const maybe = test.skipIf(whyNot !== undefined);
  if (whyNot !== undefined) console.warn(`skipped: ${whyNot}`);
  const config = (path: string) => ({
    path,
    explicitRaw: true,
    readOnly: false,
    ephemeral: false,
    cache: 'direct' as const,
    onError: 'report' as const,
    serial: '',
  });

  maybe('an image of whole blocks is one with such blocks for the guest', async () => {
    const medium = await FileMedium.open(config(image(2 ** 20, folder)));
    expect(medium.layout.blockSize).toBe(4096);
    expect(medium.open.direct!.offset).toBe(4096);
    await medium.close();
  });

  maybe('an image of another size is refused, with what to do', async () => {
    const path = image(2 ** 20 + 512, folder);
    const { code, message, hint } = await refusal({ path, cache: 'direct' });
    expect(code).toBe('ERR_TSVMM_DISK_FORMAT');
    expect(message).toMatch(/has 1049088 bytes, and direct I\/O goes by blocks of 4096 bytes/);
    const command = /truncate -s %4096 (\S+);/.exec(hint!)![0].slice(0, -1);
    execFileSync('sh', ['-c', command]);
    await using disk = await openDiskFile({ path, cache: 'direct' });
    expect(disk.size).toBe(2 ** 20 + 4096);
  });

  maybe('an image whose partition table counts in 512 bytes is refused', async () => {
    const path = image(2 ** 20, folder);
    const sector = Buffer.alloc(512);
    sector.set([0x55, 0xaa], 510);
    writeFileSync(path, Buffer.concat([sector, Buffer.alloc(2 ** 20 - 512)]));
    await expect(FileMedium.open(config(path))).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringMatching(/counts in blocks of 512 bytes, and direct I\/O goes by 4096/),
    });
    const medium = await FileMedium.open({ ...config(path), cache: 'writeback' });
    expect(medium.layout.blockSize).toBe(512);
    await medium.close();
  });
});
