/** Opening raw images: what is read, and what each thing that is no raw image is called. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { deviceNumbers, openRawImage } from '../../../src/disk/raw-image.js';
import { haveTools, noise, run, scratch } from '../boot/fs/images.js';

const folder = scratch();
let made = 0;

function file(bytes: Buffer): string {
  const path = join(folder, `disk-${++made}.img`);
  writeFileSync(path, bytes);
  return path;
}

const refusal = (code: string, message: RegExp) => ({
  code,
  message: expect.stringMatching(message),
  hint: expect.any(String),
});

describe('openRawImage', () => {
  test('reads ranges, several at once, and nothing outside', async () => {
    const bytes = noise(64 * 512);
    await using image = await openRawImage(file(bytes));
    expect(image.size).toBe(bytes.length);
    const ranges = Array.from({ length: 50 }, (_, i) => [i * 600, 512 + i] as const);
    const read = await Promise.all(ranges.map(([offset, length]) => image.read(offset, length)));
    for (const [i, [offset, length]] of ranges.entries())
      expect(read[i]!.equals(bytes.subarray(offset, offset + length))).toBe(true);
    expect((await image.read(bytes.length, 0)).length).toBe(0);
    for (const [offset, length] of [
      [bytes.length, 1],
      [0, bytes.length + 1],
      [-1, 1],
      [0, -1],
      [1.5, 1],
      [Number.NaN, 1],
      [2 ** 60, 2 ** 60],
    ] as const) {
      await expect(image.read(offset, length)).rejects.toMatchObject({ code: 'ERR_TSVMM_DISK_IO' });
    }
  });

  test('closes once, whoever asks, and is closed then', async () => {
    const image = await openRawImage(file(Buffer.alloc(512)));
    await Promise.all([image.close(), image.close(), image[Symbol.asyncDispose]()]);
    await expect(image.read(0, 1)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_IO',
      message: expect.stringContaining('is closed'),
    });
  });

  test('follows a symbolic link to an image', async () => {
    const link = join(folder, 'link');
    symlinkSync(file(noise(1024)), link);
    await using image = await openRawImage(link);
    expect(image.size).toBe(1024);
  });

  test('says that the file was truncated while in use', async () => {
    const path = file(noise(4096));
    await using image = await openRawImage(path);
    truncateSync(path, 1024);
    await expect(image.read(512, 1024)).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_IO',
      message: expect.stringContaining('truncated while in use'),
    });
  });

  test('missing, a directory, a loop of links, empty, truncated', async () => {
    await expect(openRawImage(join(folder, 'none.img'))).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_IO', /none\.img" does not exist/),
    );
    await expect(openRawImage(join(file(Buffer.alloc(512)), 'x'))).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_IO', /does not exist/),
    );
    symlinkSync('self', join(folder, 'self'));
    await expect(openRawImage(join(folder, 'self'))).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_IO', /loop of symbolic links/),
    );
    mkdirSync(join(folder, 'directory'));
    await expect(openRawImage(join(folder, 'directory'))).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_FORMAT', /is a directory/),
    );
    await expect(openRawImage(file(Buffer.alloc(0)))).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_FORMAT', /is empty/),
    );
    await expect(openRawImage(file(Buffer.alloc(1000)))).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_FORMAT', /1000 bytes.*truncated/),
    );
    await expect(openRawImage(file(Buffer.alloc(1000)), { format: 'raw' })).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_FORMAT', /truncated/),
    );
  });

  test('a pipe, a socket and a character device are refused at once', async () => {
    const pipe = join(folder, 'pipe');
    run('mkfifo', [pipe]);
    await expect(openRawImage(pipe)).rejects.toMatchObject(refusal('ERR_TSVMM_DISK_FORMAT', /is a pipe/));
    const socket = join(folder, 'socket');
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(socket, resolve));
    await expect(openRawImage(socket)).rejects.toMatchObject(refusal('ERR_TSVMM_DISK_FORMAT', /is a socket/));
    server.close();
    await expect(openRawImage('/dev/zero')).rejects.toMatchObject(
      refusal('ERR_TSVMM_DISK_FORMAT', /is a character device/),
    );
  });

  test.runIf(process.getuid?.() !== 0)('not permitted', async () => {
    const path = file(Buffer.alloc(512));
    chmodSync(path, 0);
    await expect(openRawImage(path)).rejects.toMatchObject(refusal('ERR_TSVMM_DISK_IO', /may not be read/));
  });

  test('a control character in a path does not reach the terminal', async () => {
    await expect(openRawImage(join(folder, 'bad\u001b[31m\u009b'))).rejects.toMatchObject({
      message: expect.stringMatching(/bad\\u001b\[31m\\u009b/),
    });
  });
});

/** A loop device over `path`; undefined, with the reason, where there are none. */
function loopDevice(path: string): string | undefined {
  if (process.getuid?.() !== 0 || !haveTools('losetup')) {
    console.warn('skipped: loop devices need root');
    return undefined;
  }
  const attached = spawnSync('losetup', ['--find', '--show', '--read-only', path], { encoding: 'utf8' });
  if (attached.status !== 0) console.warn(`skipped: no loop device: ${attached.stderr}`);
  return attached.status === 0 ? attached.stdout.trim() : undefined;
}

describe('block devices', () => {
  test('have the size that the kernel says', async (context) => {
    const bytes = noise(100 * 512);
    const device = loopDevice(file(bytes));
    if (!device) return context.skip();
    try {
      await using image = await openRawImage(device);
      expect(image.size).toBe(bytes.length);
      expect((await image.read(5000, 10_000)).equals(bytes.subarray(5000, 15_000))).toBe(true);
    } finally {
      run('losetup', ['-d', device]);
    }
  });

  test('numbers are split as glibc does', () => {
    for (const path of ['/dev/null', '/dev/tty']) {
      const { major, minor } = deviceNumbers(statSync(path).rdev);
      expect(run('stat', ['-c', '%t:%T', path]).trim()).toBe(`${major.toString(16)}:${minor.toString(16)}`);
    }
    expect(deviceNumbers(0xabc00000 + 0x00012345)).toEqual({ major: 0x123, minor: 0xabc45 });
  });
});
