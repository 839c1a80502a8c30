/** Formats other than raw, as qemu-img writes them, are refused by name with a command that works. */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import * as fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { detectFormat, formatOfHead, formatRefused } from '../../../src/disk/format.js';
import { openRawImage } from '../../../src/disk/raw-image.js';
import { haveTools, MemoryDisk, noise, run, scratch } from '../boot/fs/images.js';

const folder = scratch();
const disk = noise(1024 * 1024);

describe.runIf(haveTools('qemu-img', 'sh'))('what qemu-img makes', () => {
  test.each([
    ['qcow2', 'qcow2', []],
    ['qcow2', 'qcow2', ['-o', 'compat=0.10']],
    ['qcow', 'qcow', []],
    ['VHD', 'vpc', []],
    ['VHD', 'vpc', ['-o', 'subformat=fixed']],
    ['VHDX', 'vhdx', []],
    ['VMDK', 'vmdk', []],
    ['VMDK', 'vmdk', ['-o', 'subformat=streamOptimized']],
    ['VMDK descriptor', 'vmdk', ['-o', 'subformat=monolithicFlat']],
    ['VDI', 'vdi', []],
    ['QED', 'qed', []],
    ['Parallels', 'parallels', []],
  ] as const)(
    '%s (%s %j) is refused by its name, and the command in the hint converts it',
    async (name, format, options) => {
      const raw = join(folder, 'source.raw');
      writeFileSync(raw, disk);
      const path = join(folder, `my disk ${options.join('')}.${format}`);
      run('qemu-img', ['convert', '-f', 'raw', '-O', format, ...options, raw, path]);
      const error = await openRawImage(path).catch((refused) => refused);
      expect(error).toMatchObject({
        code: 'ERR_TSVMM_DISK_FORMAT',
        message: expect.stringContaining(`is a ${name} image`),
        details: { format: name },
      });
      const command = /Convert it: (.*)\. If it really/.exec(error.hint)![1]!;
      expect(spawnSync('sh', ['-c', command], { encoding: 'utf8' })).toMatchObject({ status: 0 });
      const converted = /'([^']*\.raw)'$/.exec(command)![1]!;
      expect(existsSync(converted)).toBe(true);
      expect(readFileSync(converted).subarray(0, disk.length).equals(disk)).toBe(true);
      // Stated to be raw, it is raw.
      if (readFileSync(path).length % 512 === 0) await (await openRawImage(path, { format: 'raw' })).close();
    },
  );
});

describe('detection', () => {
  test.for([
    ['xz', 'xz-compressed'],
    ['gzip', 'gzip-compressed'],
    ['zstd', 'zstd-compressed'],
    ['bzip2', 'bzip2-compressed'],
  ] as const)('%s files are named', async ([tool, name], context) => {
    if (!haveTools(tool)) context.skip(`${tool} is not installed`);
    const path = join(folder, `image.raw.${tool}`);
    writeFileSync(path, spawnSync(tool, ['-c'], { input: Buffer.alloc(4096) }).stdout);
    await expect(openRawImage(path)).rejects.toMatchObject({
      message: expect.stringContaining(name),
      hint: expect.stringContaining(`${tool} -dc `),
    });
  });

  test('raw disks are not taken for anything else', async () => {
    expect(await detectFormat(new MemoryDisk(disk))).toBeUndefined();
    expect(await detectFormat(new MemoryDisk(Buffer.alloc(1)))).toBeUndefined();
    expect(formatOfHead(Buffer.alloc(0))).toBeUndefined();
    expect(formatOfHead(Buffer.from('QF'))).toBeUndefined();
  });

  test('T28: what a guest writes into its first sector is seen by the same function', () => {
    expect(formatOfHead(Buffer.from([0x51, 0x46, 0x49, 0xfb, 0, 0, 0, 3]))?.name).toBe('qcow2');
    const inside = Uint8Array.from([1, 2, 3, ...Buffer.from('vhdxfile')]);
    expect(formatOfHead(inside.subarray(3))?.name).toBe('VHDX');
    expect(formatOfHead(inside)).toBeUndefined();
  });

  test('the footer of Virtual PC, one byte shorter', async () => {
    const bytes = Buffer.alloc(8192 + 511);
    bytes.write('conectix', 8192);
    expect((await detectFormat(new MemoryDisk(bytes)))?.name).toBe('VHD');
  });

  test('never throws, whatever the bytes', async () => {
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 1100 }), async (bytes) => {
        const found = await detectFormat(new MemoryDisk(Buffer.from(bytes)));
        if (found) expect(formatRefused('/a b.img', found).hint).toContain("'/a b.img'");
      }),
      { numRuns: 200 },
    );
  });
});
