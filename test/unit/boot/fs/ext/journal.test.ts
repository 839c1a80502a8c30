/** Dirty journals as debugfs writes them, against e2fsck, which replays them. */
import { copyFileSync, readFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { haveTools, load, mount, noise, scratch } from '../images.js';
import { fileSize, JournalImages } from './journal-images.js';

const ready = haveTools('mke2fs', 'debugfs', 'e2fsck');
const images = new JournalImages(scratch());

const journalMagic = Buffer.from([0xc0, 0x3b, 0x39, 0x98]);

const layouts = [
  { name: '4 KiB blocks, 64-bit tags', options: ['-b', '4096'] },
  { name: '1 KiB blocks, 64-bit tags', options: ['-b', '1024'] },
  { name: '32-bit tags', options: ['-b', '1024', '-O', '^64bit'] },
  { name: 'no metadata checksums (journal v1)', options: ['-b', '1024', '-O', '^metadata_csum,^64bit'] },
  { name: 'block map', options: ['-b', '1024', '-O', '^extents,^64bit,^metadata_csum'] },
];
const opens = ['jo', 'jo -c', 'jo -c -v 2', 'jo -c -v 3'];

describe.runIf(ready)('replays what debugfs wrote', () => {
  test.each(layouts.flatMap((layout) => opens.map((open) => ({ ...layout, open }))))(
    '$name, $open',
    async ({ options, open }) => {
      const { image, blocks, content, blockSize } = images.imageWithFile(...options);
      const first = noise(blockSize * 3, 100);
      journalMagic.copy(first, blockSize); // a block that must be escaped in the journal
      const second = noise(blockSize * 2, 101);
      const third = noise(blockSize, 102);
      const [b0, b1, b2, b3, b4] = blocks;
      // With v1 checksums debugfs writes commit blocks after revoke blocks that e2fsck calls corrupt.
      const revokes = open === 'jo' || !options.some((option) => option.includes('^metadata_csum'));
      images.debugfs(
        image,
        [
          open,
          `jw -b ${b0},${b1},${b2} $0`, // b2 is revoked later, b0 written again
          `jw -b ${b3},${b0} $1`,
          ...(revokes ? [`jw -r ${b2},${b4}`] : []), // b4: revoked, then written again
          `jw -b ${b4} $2`,
          `jw -b ${b1} -c $2`, // not committed
          'jc',
        ],
        [first, second, third],
      );
      const expected = Buffer.from(content);
      first.copy(expected, blockSize, blockSize, (revokes ? 2 : 3) * blockSize);
      second.copy(expected, 3 * blockSize, 0, blockSize);
      second.copy(expected, 0, blockSize);
      third.copy(expected, 4 * blockSize);

      const { ours, repaired, notes } = await images.bothReadings(image);
      expect(repaired.equals(expected), 'e2fsck').toBe(true);
      expect(ours.equals(expected), 'tsvmm').toBe(true);
      const counts = revokes ? '4 journal transactions with 4 blocks' : '3 journal transactions with 5 blocks';
      expect(notes).toEqual([expect.stringContaining(`${counts} were replayed in memory`)]);
    },
  );

  test('an empty journal changes nothing and is noted', async () => {
    const { image, content } = images.imageWithFile('-b', '1024');
    images.debugfs(image, ['feature needs_recovery']);
    const fileSystem = await mount(load(image));
    expect((await fileSystem.readFile('/f', fileSize)).equals(content)).toBe(true);
    expect(fileSystem.notes).toEqual([expect.stringContaining('journal is empty')]);
  });

  test('metadata in the journal is used: a directory, an inode table, the superblock', async () => {
    const { image, blockSize } = images.imageWithFile('-b', '1024');
    const after = images.path('.after');
    copyFileSync(image, after);
    images.debugfs(after, ['mkdir /new', 'write $0 /new/file', 'ssv volume_name renamed'], [noise(3000, 5)]);
    const before = readFileSync(image);
    const wanted = readFileSync(after);
    const changed: number[] = [];
    for (let block = 0; block < before.length / blockSize; block++) {
      if (
        !before
          .subarray(block * blockSize, (block + 1) * blockSize)
          .equals(wanted.subarray(block * blockSize, (block + 1) * blockSize))
      )
        changed.push(block);
    }
    images.debugfs(
      image,
      ['jo -c', `jw -b ${changed.join(',')} $0`, 'jc'],
      [Buffer.concat(changed.map((block) => wanted.subarray(block * blockSize, (block + 1) * blockSize)))],
    );
    const fileSystem = await mount(load(image));
    expect(fileSystem.label).toBe('renamed');
    expect((await fileSystem.readFile('/new/file', 3000)).equals(noise(3000, 5))).toBe(true);
    expect((await fileSystem.list('/')).map((entry) => entry.name)).toContain('new');
  });
});
