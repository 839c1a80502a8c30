/** The log of a journal: around its end, with every kind of checksum, and damaged. */
import { writeFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { haveTools, load, MemoryDisk, mount, noise, scratch } from '../images.js';
import { Journal, JournalImages } from './journal-images.js';

const ready = haveTools('mke2fs', 'debugfs', 'e2fsck');
const images = new JournalImages(scratch());

describe.runIf(ready)('the log', () => {
  /** Two transactions: descriptor, three copies, commit; descriptor, one copy, commit. Eight blocks of log. */
  function dirty(open: string, ...options: string[]): { image: string; expected: Buffer; blockSize: number } {
    const { image, blocks, content, blockSize } = images.imageWithFile(...options);
    const first = noise(blockSize * 3, 200);
    const second = noise(blockSize, 201);
    images.debugfs(
      image,
      [open, `jw -b ${blocks.slice(0, 3).join(',')} $0`, `jw -b ${blocks[5]} $1`, 'jc'],
      [first, second],
    );
    const expected = Buffer.from(content);
    first.copy(expected, 0);
    second.copy(expected, 5 * blockSize);
    return { image, expected, blockSize };
  }

  test.each([1, 2, 3, 4, 5, 6, 7])('goes on at its beginning, %i blocks before the end', async (before) => {
    const { image, expected, blockSize } = dirty('jo -c', '-b', '1024');
    const journal = new Journal(image, blockSize);
    journal.rotate(8, journal.places.length - before);
    writeFileSync(image, journal.disk);
    const { ours, repaired } = await images.bothReadings(image);
    expect(repaired.equals(expected), 'e2fsck').toBe(true);
    expect(ours.equals(expected), 'tsvmm').toBe(true);
  });

  test.each(['jo -c -v 2', 'jo -c -v 3'])('refuses a copy with a wrong checksum (%s)', async (open) => {
    const { image, blockSize } = dirty(open, '-b', '1024');
    const journal = new Journal(image, blockSize);
    journal.block(3)[500]! ^= 1;
    await expect(mount(new MemoryDisk(journal.disk))).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringMatching(/copy of block \d+ in transaction 1 has a wrong checksum/),
      hint: expect.stringContaining('e2fsck -f'),
    });
  });

  test('refuses a transaction whose v1 checksum is wrong', async () => {
    const { image, blockSize } = dirty('jo -c', '-b', '1024', '-O', '^metadata_csum,^64bit');
    const journal = new Journal(image, blockSize);
    expect(journal.block(0).readUInt32BE(0x24)).toBe(1); // the compatible checksum feature
    const right = await mount(new MemoryDisk(Buffer.from(journal.disk)));
    expect(right.notes[0]).toContain('2 journal transactions');
    journal.block(3)[500]! ^= 1;
    // debugfs leaves the v1 checksum out (type and size 0), which the kernel accepts; with one there it must match.
    if (journal.block(5).readUInt8(0xc) === 0) journal.block(5).set([1, 4], 0xc);
    await expect(mount(new MemoryDisk(journal.disk))).rejects.toMatchObject({
      message: expect.stringContaining('transaction 1 has a wrong checksum'),
    });
  });

  test('accepts a right v1 checksum', async () => {
    const { image, expected, blockSize } = dirty('jo -c', '-b', '1024', '-O', '^metadata_csum,^64bit');
    const journal = new Journal(image, blockSize);
    const sum = (blocks: number[]): number => {
      let crc = 0xffffffff; // CRC-32, most significant bit first
      for (const byte of Buffer.concat(blocks.map((block) => journal.block(block)))) {
        crc ^= byte << 24;
        for (let bit = 0; bit < 8; bit++) crc = crc & 0x80000000 ? (crc << 1) ^ 0x04c11db7 : crc << 1;
      }
      return crc >>> 0;
    };
    for (const [commit, covered] of [
      [5, [1, 2, 3, 4]],
      [8, [6, 7]],
    ] as const) {
      journal.block(commit).set([1, 4], 0xc);
      journal.block(commit).writeUInt32BE(sum([...covered]), 0x10);
    }
    writeFileSync(image, journal.disk);
    const { ours, repaired } = await images.bothReadings(image);
    expect(repaired.equals(expected), 'e2fsck').toBe(true);
    expect(ours.equals(expected), 'tsvmm').toBe(true);
  });

  test('refuses a descriptor and a commit block with a wrong checksum', async () => {
    const { image, blockSize } = dirty('jo -c', '-b', '1024');
    for (const [block, offset] of [
      [1, 900],
      [5, 700],
    ] as const) {
      const journal = new Journal(image, blockSize);
      journal.block(block)[offset]! ^= 1;
      await expect(mount(new MemoryDisk(journal.disk))).rejects.toMatchObject({
        message: expect.stringContaining('transaction 1 has a wrong checksum'),
      });
    }
  });

  test('takes a broken transaction that is older than the last commit for a leftover', async () => {
    const { image, blockSize } = dirty('jo -c', '-b', '1024');
    const journal = new Journal(image, blockSize);
    journal.block(6)[900]! ^= 1; // the second transaction's descriptor
    journal.block(8).writeUInt32BE(0, 0x30);
    journal.block(8).writeUInt32BE(1, 0x34); // committed in 1970
    const fileSystem = await mount(new MemoryDisk(journal.disk));
    expect(fileSystem.notes[0]).toContain('1 journal transactions with 3 blocks');
  });

  test('ends where sequence numbers end', async () => {
    const { image, blockSize } = dirty('jo', '-b', '1024');
    const journal = new Journal(image, blockSize);
    journal.block(6).writeUInt32BE(9, 8);
    expect((await mount(new MemoryDisk(journal.disk))).notes[0]).toContain('1 journal transactions');
  });

  test.each([
    ['a log outside the journal', 0x1c, 0x7fffffff, /starts at block/],
    ['more blocks than the file has', 0x10, 0x100000, /blocks in a journal file/],
    ['a first block of 0', 0x14, 0, /from block 0/],
    ['another block size', 0xc, 4096, /blocks of 4096/],
    ['unknown features', 0x28, 0x80000011, /features 0x80000000/],
  ])('refuses %s', async (_, offset, value, message) => {
    const { image, blockSize } = dirty('jo -c', '-b', '1024');
    const journal = new Journal(image, blockSize);
    journal.setField(offset, value);
    await expect(mount(new MemoryDisk(journal.disk))).rejects.toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringMatching(message),
    });
  });

  test('refuses a block outside the file system', async () => {
    const { image, blockSize } = dirty('jo', '-b', '1024', '-O', '^metadata_csum,^64bit');
    const journal = new Journal(image, blockSize);
    journal.block(1).writeUInt32BE(0x7fffffff, 12);
    await expect(mount(new MemoryDisk(journal.disk))).rejects.toMatchObject({
      message: expect.stringContaining('writes block 2147483647'),
    });
  });

  test('refuses a log of transactions that never commit and go round', async () => {
    const { image, blockSize } = dirty('jo', '-b', '1024', '-O', '^metadata_csum,^64bit');
    const journal = new Journal(image, blockSize);
    const descriptor = journal.block(1);
    for (let i = 1; i < journal.places.length; i++) descriptor.copy(journal.block(i)); // each claims three copies
    const disk = new MemoryDisk(journal.disk);
    const outcome = await mount(disk).then(
      (fileSystem) => fileSystem.notes[0],
      (error: Error) => error.message,
    );
    expect(outcome).toMatch(/longer than the journal|0 journal transactions/);
  });

  test('an external journal is refused with the command that replays it', async () => {
    const { image } = images.imageWithFile('-b', '1024');
    images.debugfs(image, ['ssv journal_inum 0', 'ssv journal_dev 0x801', 'feature needs_recovery']);
    await expect(mount(load(image))).rejects.toMatchObject({
      message: expect.stringContaining('on another device'),
      hint: expect.stringContaining('e2fsck -f -j JOURNAL_DEVICE'),
    });
  });
});
