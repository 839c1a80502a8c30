/**
 * Huge claims in small images: file systems of a few mebibytes that are made to take a reader's memory or time. Each ends
 * soon with an answer or one clear error, and takes no more than its bounds.
 */
import { describe, expect, test } from 'vitest';
import { ample, costOf } from '../../../support/cost.js';
import { haveTools, load, MemoryDisk, mount, run, scratch } from './images.js';
import { smallImages } from './small-images.js';

const ready = haveTools('mke2fs', 'debugfs');
const folder = scratch();
const { ext } = smallImages(folder);

describe.runIf(ready)('huge claims in small images: ext', () => {
  test.each([['4294967295'], ['0x4000000000000']])('inline data of %s bytes', async (size) => {
    const image = ext('1M', '-t', 'ext4', '-b', '1024', '-I', '256', '-O', 'inline_data,^metadata_csum,^has_journal');
    run('debugfs', ['-w', '-R', `sif /boot/cfg size ${size}`, image]);
    const fileSystem = await mount(load(image));
    const { result, memory, cpu } = await costOf(() => fileSystem.readRange('/boot/cfg', 2, 100));
    expect(result).toEqual(Buffer.from('xt'.padEnd(100, '\0')));
    await expect(fileSystem.readFile('/boot/cfg', 1 << 20)).rejects.toThrow('are accepted');
    expect(memory).toBeLessThan(64);
    expect(cpu).toBeLessThan(ample(1000));
  });
});

describe('huge claims in small images: ISO 9660', () => {
  const sector = 2048;
  const bothEndian = (value: number): Buffer => {
    const bytes = Buffer.alloc(8);
    bytes.writeUInt32LE(value, 0);
    bytes.writeUInt32BE(value, 4);
    return bytes;
  };
  function record(location: number, length: number, flags: number, name: string): Buffer {
    const bytes = Buffer.alloc(34);
    bytes.writeUInt8(34, 0);
    bothEndian(location).copy(bytes, 2);
    bothEndian(length).copy(bytes, 10);
    bytes.writeUInt8(flags, 25);
    bytes.writeUInt16LE(1, 28);
    bytes.writeUInt16BE(1, 30);
    bytes.writeUInt8(1, 32);
    bytes.write(name, 33, 'latin1');
    return bytes;
  }

  /** A volume whose root directory has `size` bytes full of `one` record. */
  function volume(size: number, one: (root: number) => Buffer): MemoryDisk {
    const root = 20;
    const bytes = Buffer.alloc(root * sector + size);
    bytes.write('\x01CD001\x01', 16 * sector, 'latin1');
    bothEndian(bytes.length / sector).copy(bytes, 16 * sector + 80);
    bytes.writeUInt16LE(sector, 16 * sector + 128);
    bytes.writeUInt16BE(sector, 16 * sector + 130);
    record(root, size, 2, '\0').copy(bytes, 16 * sector + 156);
    bytes.write('\xffCD001\x01', 17 * sector, 'latin1');
    const repeated = Buffer.concat(Array.from({ length: Math.floor(sector / 34) }, () => one(root)));
    for (let at = root * sector; at < bytes.length; at += sector) repeated.copy(bytes, at);
    record(root, size, 2, '\0').copy(bytes, root * sector);
    record(root, size, 2, '\x01').copy(bytes, root * sector + 34);
    return new MemoryDisk(bytes);
  }

  test.each([
    ['a directory of a hundred thousand names', 0, 'a directory of more than 65538 records'],
    ['a file of a hundred thousand sections', 0x80, 'a file of more than 64 sections'],
  ])('%s', async (_, flags, says) => {
    const disk = volume(4 << 20, (root) => record(root, 10, flags, 'A'));
    const fileSystem = await mount(disk);
    const asked = async (): Promise<string[]> => {
      const answers: string[] = [];
      for (let i = 0; i < 20; i++)
        await fileSystem.stat(`/not-there-${i}`).catch(({ message }) => answers.push(String(message)));
      await fileSystem.list('/').catch(({ message }) => answers.push(String(message)));
      return answers;
    };
    const { result, memory, cpu } = await costOf(asked);
    expect(result).toEqual(Array.from({ length: 21 }, () => expect.stringContaining(says)));
    expect(memory).toBeLessThan(64);
    expect(cpu).toBeLessThan(ample(8000));
  });
});
