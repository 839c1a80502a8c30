import { execFileSync, spawn, spawnSync } from 'node:child_process';
import {
  chmodSync,
  closeSync,
  constants,
  fstatSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from 'vitest';
import { openDiskFile } from '../../../src/disk/disk-file.js';
import { lockFile } from '../../../src/disk/file-lock.js';
import { TsvmmError } from '../../../src/errors.js';
import { openTargets } from '../../support/descriptors.js';

const directory = mkdtempSync(join(tmpdir(), 'tsvmm-disk-'));
afterAll(() => rmSync(directory, { recursive: true }));

let count = 0;
function image(size = 4096): string {
  const path = join(directory, `image${count++}`);
  writeFileSync(path, Buffer.alloc(size, 7));
  return path;
}

async function refusal(options: Parameters<typeof openDiskFile>[0]): Promise<TsvmmError> {
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

/** What this process has open by a path; pipes and sockets come and go with the processes that tests start. */
const openFiles = (): string[] =>
  openTargets()
    .filter((target) => target.startsWith('/') && !target.startsWith('/proc/'))
    .sort();

describe('access', () => {
  test('a writable disk is opened for both, and closed once', async () => {
    const before = openFiles();
    const disk = await openDiskFile({ path: image(8192) });
    expect([disk.size, disk.readOnly, disk.open.kind]).toEqual([8192, false, 'file']);
    if (disk.open.kind !== 'file') throw new Error();
    expect(writeSync(disk.open.fd, Buffer.alloc(512), 0, 512, 0)).toBe(512);
    await disk.close();
    await disk.close();
    expect(openFiles()).toEqual(before);
  });

  test('says what its file system likes to transfer at a time', async () => {
    const path = image();
    await using disk = await openDiskFile({ path });
    expect(disk.ioSize).toBe(statSync(path).blksize);
  });

  test('the private file of an ephemeral disk is a hole of its size', async () => {
    await using disk = await openDiskFile({ path: image(1 << 20), ephemeral: true });
    if (disk.open.kind !== 'overlay') throw new Error();
    expect(fstatSync(disk.open.overlay)).toMatchObject({ size: 1 << 20, blocks: 0 });
  });

  test('T32: a read-only disk cannot be written by anybody who has its descriptor', async () => {
    await using disk = await openDiskFile({ path: image(), readOnly: true });
    if (disk.open.kind !== 'file') throw new Error();
    const { fd } = disk.open;
    expect(disk.readOnly).toBe(true);
    expect(() => writeSync(fd, Buffer.alloc(512))).toThrow(/EBADF/);
  });

  test('reads wait: O_NONBLOCK is off', async () => {
    await using disk = await openDiskFile({ path: image() });
    if (disk.open.kind !== 'file') throw new Error();
    const info = execFileSync('cat', [`/proc/${process.pid}/fdinfo/${disk.open.fd}`], { encoding: 'utf8' });
    expect(Number.parseInt(/flags:\s+(\d+)/.exec(info)![1]!, 8) & constants.O_NONBLOCK).toBe(0);
  });

  test('a symbolic link is followed', async () => {
    const link = join(directory, 'link');
    symlinkSync(image(), link);
    await using disk = await openDiskFile({ path: link });
    expect(disk.size).toBe(4096);
  });
});

describe('the lock', () => {
  const allowed: [string, boolean, boolean, boolean][] = [
    ['two writers', false, false, false],
    ['a writer, then a reader', false, true, false],
    ['a reader, then a writer', true, false, false],
    ['two readers', true, true, true],
  ];
  test.each(allowed)('%s in one process', async (_name, first, second, together) => {
    const path = image();
    await using _disk = await openDiskFile({ path, readOnly: first });
    if (together) {
      await using other = await openDiskFile({ path, readOnly: second });
      expect(other.readOnly).toBe(true);
    } else {
      const error = await refusal({ path, readOnly: second });
      expect(error.code).toBe('ERR_TSVMM_DISK_LOCKED');
      expect(error.message).toContain(path);
      expect(error.message).toContain(`this process (pid ${process.pid})`);
      expect(error.hint).toBeTruthy();
    }
  });

  test('is given up by close', async () => {
    const path = image();
    const disk = await openDiskFile({ path });
    await disk.close();
    await using again = await openDiskFile({ path });
    expect(again.size).toBe(4096);
  });

  test('ephemeral machines share an image; nobody may write it meanwhile', async () => {
    const path = image();
    await using _one = await openDiskFile({ path, ephemeral: true });
    await using _two = await openDiskFile({ path, ephemeral: true });
    expect((await refusal({ path })).code).toBe('ERR_TSVMM_DISK_LOCKED');
  });

  const python = spawnSync('python3', ['-c', 'import fcntl']).status === 0;
  if (!python) console.warn('skipped: the lock of another process needs python3');
  test.skipIf(!python)('names another process that holds it', async () => {
    const path = image();
    const script = `import fcntl,struct,sys,time
f=open(sys.argv[1],'r+b')
fcntl.fcntl(f,37,struct.pack('hhqqi',1,0,0,0,0))
print('locked',flush=True)
time.sleep(60)`;
    const other = spawn('python3', ['-c', script, path], { stdio: ['ignore', 'pipe', 'inherit'] });
    await new Promise((resolve) => other.stdout.once('data', resolve));
    try {
      expect((await refusal({ path })).message).toContain(`(pid ${other.pid})`);
    } finally {
      other.kill('SIGKILL');
    }
  });

  test('a failed open leaves nothing open and nothing locked', async () => {
    const path = image();
    const disk = await openDiskFile({ path });
    const before = openFiles();
    await refusal({ path, ephemeral: true });
    await refusal({ path });
    expect(openFiles()).toEqual(before);
    await disk.close();
    const fd = openSync(path, 'r+');
    expect(lockFile(fd, 'write')).toBe(0);
    closeSync(fd);
  });
});

describe('an ephemeral disk', () => {
  test('has a private file that nobody can find', async () => {
    const path = image();
    const own = mkdtempSync(join(directory, 'tmp'));
    await using disk = await openDiskFile({ path, ephemeral: { limit: 1 << 20 }, temporaryDirectory: own });
    if (disk.open.kind !== 'overlay') throw new Error();
    const { layers, overlay } = disk.open;
    const base = layers[0]!.fd;
    expect(disk.open.limit).toBe(1 << 20);
    expect(readdirSync(own)).toEqual([]);
    expect(fstatSync(overlay).nlink).toBe(0);
    expect(writeSync(overlay, Buffer.alloc(512, 1), 0, 512, 2048)).toBe(512);
    expect(() => writeSync(base, Buffer.alloc(512))).toThrow(/EBADF/);
    const byte = Buffer.alloc(1);
    readSync(base, byte, 0, 1, 2048);
    expect(byte[0]).toBe(7);
  });

  test('says where it looked when there is no room for that file', async () => {
    const error = await refusal({ path: image(), ephemeral: true, temporaryDirectory: join(directory, 'missing') });
    expect(error.code).toBe('ERR_TSVMM_DISK_IO');
    expect(error.message).toContain(join(directory, 'missing'));
  });

  test('is not read-only as well', async () => {
    expect((await refusal({ path: image(), ephemeral: true, readOnly: true })).code).toBe('ERR_TSVMM_CONFIG');
  });
});

describe('what is no disk', () => {
  const wrong: [string, () => string, string, RegExp][] = [
    ['nothing', () => join(directory, 'nothing'), 'ERR_TSVMM_DISK_IO', /does not exist/],
    ['a path through a file', () => join(image(), 'below'), 'ERR_TSVMM_DISK_IO', /no directory/],
    ['a directory', () => directory, 'ERR_TSVMM_DISK_FORMAT', /is a directory/],
    ['an empty file', () => image(0), 'ERR_TSVMM_DISK_FORMAT', /is empty/],
    ['half a sector', () => image(1000), 'ERR_TSVMM_DISK_FORMAT', /1000 bytes/],
    ['a character device', () => '/dev/null', 'ERR_TSVMM_DISK_FORMAT', /character device/],
    ['a pipe', () => pipe(), 'ERR_TSVMM_DISK_FORMAT', /is a pipe/],
  ];
  const pipe = (): string => {
    const path = join(directory, `pipe${count++}`);
    execFileSync('mkfifo', [path]);
    return path;
  };
  test.each(wrong)('%s', async (_name, path, code, message) => {
    const before = openFiles();
    const error = await refusal({ path: path() });
    expect(error.code).toBe(code);
    expect(error.message).toMatch(message);
    expect(error.hint).toBeTruthy();
    expect(openFiles()).toEqual(before);
  });

  test.skipIf(process.getuid?.() === 0)('a file that may not be written (not tried as root)', async () => {
    const path = image();
    chmodSync(path, 0o444);
    expect((await refusal({ path })).message).toMatch(/read and written/);
  });
});

const loop = ((): string | undefined => {
  if (process.getuid?.() !== 0) return undefined;
  try {
    const path = image(1 << 20);
    return execFileSync('losetup', ['--find', '--show', path], {
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'ignore'],
    }).trim();
  } catch {
    return undefined;
  }
})();
if (loop === undefined) console.warn('skipped: block devices need root and a loop device');
afterAll(() => {
  if (loop !== undefined) execFileSync('losetup', ['--detach', loop]);
});

test.skipIf(loop === undefined)('a block device has the size of its medium and is locked like a file', async () => {
  const disk = await openDiskFile({ path: loop! });
  expect(disk.size).toBe(1 << 20);
  expect((await refusal({ path: loop! })).code).toBe('ERR_TSVMM_DISK_LOCKED');
  await disk.close();
});

test('a file that shrinks between two opens is measured anew', async () => {
  const path = image(8192);
  await (await openDiskFile({ path })).close();
  truncateSync(path, 4096);
  await using disk = await openDiskFile({ path });
  expect(disk.size).toBe(4096);
});
