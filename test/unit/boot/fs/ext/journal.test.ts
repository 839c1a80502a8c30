/** Dirty journals against debugfs, which writes them, e2fsck, which replays them, and the kernel where it may mount. */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { haveTools, load, MemoryDisk, mayMount, mount, noise, plant, run, scratch } from '../images.js';

const ready = haveTools('mke2fs', 'debugfs', 'e2fsck');
const folder = scratch();
let made = 0;
const path = (suffix: string) => join(folder, `${++made}${suffix}`);

const journalMagic = Buffer.from([0xc0, 0x3b, 0x39, 0x98]);
const fileSize = 12 * 4096;

/** An image with one file /f of twelve 4 KiB blocks, and the numbers of its blocks. */
function imageWithFile(...options: string[]): { image: string; blocks: number[]; content: Buffer; blockSize: number } {
  const image = path('.img');
  const root = path('.root');
  const content = noise(fileSize, 77);
  plant(root, { f: content, other: noise(100) });
  run('truncate', ['-s', '12M', image]);
  run('mke2fs', ['-q', '-F', '-t', 'ext4', '-J', 'size=4', '-d', root, ...options, image]);
  const blocks = run('debugfs', ['-R', 'blocks /f', image]).trim().split(/\s+/).map(Number);
  return { image, blocks, content, blockSize: options.includes('1024') ? 1024 : 4096 };
}

/** Runs debugfs commands; `$0`, `$1`, ... stand for data files. */
function debugfs(image: string, commands: string[], data: Buffer[] = []): void {
  const files = data.map((bytes) => {
    const file = path('.data');
    writeFileSync(file, bytes);
    return file;
  });
  run('debugfs', ['-w', '-f', '-', image], {
    input: commands.map((line) => line.replace(/\$(\d+)/g, (_, i) => files[Number(i)]!)).join('\n'),
  });
}

/** The file /f as it is in the dirty image, and as it is after e2fsck has replayed the journal of a copy. */
async function bothReadings(image: string): Promise<{ ours: Buffer; notes: readonly string[]; repaired: Buffer }> {
  const fileSystem = await mount(load(image));
  const copy = path('.copy');
  copyFileSync(image, copy);
  run('e2fsck', ['-fy', copy], { accept: [0, 1] });
  const clean = await mount(load(copy));
  expect(clean.notes).toEqual([]);
  return {
    ours: await fileSystem.readFile('/f', fileSize),
    notes: fileSystem.notes,
    repaired: await clean.readFile('/f', fileSize),
  };
}

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
      const { image, blocks, content, blockSize } = imageWithFile(...options);
      const first = noise(blockSize * 3, 100);
      journalMagic.copy(first, blockSize); // a block that must be escaped in the journal
      const second = noise(blockSize * 2, 101);
      const third = noise(blockSize, 102);
      const [b0, b1, b2, b3, b4] = blocks;
      // With v1 checksums debugfs writes commit blocks after revoke blocks that e2fsck calls corrupt.
      const revokes = open === 'jo' || !options.some((option) => option.includes('^metadata_csum'));
      debugfs(
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

      const { ours, repaired, notes } = await bothReadings(image);
      expect(repaired.equals(expected), 'e2fsck').toBe(true);
      expect(ours.equals(expected), 'tsvmm').toBe(true);
      const counts = revokes ? '4 journal transactions with 4 blocks' : '3 journal transactions with 5 blocks';
      expect(notes).toEqual([expect.stringContaining(`${counts} were replayed in memory`)]);
    },
  );

  test('an empty journal changes nothing and is noted', async () => {
    const { image, content } = imageWithFile('-b', '1024');
    debugfs(image, ['feature needs_recovery']);
    const fileSystem = await mount(load(image));
    expect((await fileSystem.readFile('/f', fileSize)).equals(content)).toBe(true);
    expect(fileSystem.notes).toEqual([expect.stringContaining('journal is empty')]);
  });

  test('metadata in the journal is used: a directory, an inode table, the superblock', async () => {
    const { image, blockSize } = imageWithFile('-b', '1024');
    const after = path('.after');
    copyFileSync(image, after);
    debugfs(after, ['mkdir /new', 'write $0 /new/file', 'ssv volume_name renamed'], [noise(3000, 5)]);
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
    debugfs(
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

/** CRC-32C, bit by bit: not the code under test. */
function crc32cBitwise(bytes: Buffer): number {
  let crc = 0xffffffff;
  for (const byte of bytes) {
    crc ^= byte;
    for (let bit = 0; bit < 8; bit++) crc = crc & 1 ? (crc >>> 1) ^ 0x82f63b78 : crc >>> 1;
  }
  return crc >>> 0;
}

/** The journal of an image as blocks that can be changed. */
class Journal {
  readonly disk: Buffer;
  readonly places: number[];
  readonly blockSize: number;

  constructor(image: string, blockSize: number) {
    this.places = run('debugfs', ['-R', 'blocks <8>', image]).trim().split(/\s+/).map(Number);
    this.disk = readFileSync(image);
    this.blockSize = blockSize;
  }

  block(index: number): Buffer {
    const at = this.places[index]! * this.blockSize;
    return this.disk.subarray(at, at + this.blockSize);
  }

  /** Sets a field of the journal's superblock, and its checksum where it has one. */
  setField(offset: number, value: number): void {
    const superblock = this.block(0);
    superblock.writeUInt32BE(value, offset);
    if ((superblock.readUInt32BE(0x28) & 0x18) === 0) return;
    superblock.writeUInt32BE(0, 0xfc);
    superblock.writeUInt32BE(crc32cBitwise(superblock.subarray(0, 1024)), 0xfc);
  }

  /** Moves the `count` blocks of a log that starts at block 1 so that it starts at `start` and goes on at block 1 after the end. */
  rotate(count: number, start: number): void {
    const length = this.places.length - 1;
    const blocks = Array.from({ length: count }, (_, i) => Buffer.from(this.block(1 + i)));
    for (let i = 0; i < count; i++) this.block(1 + i).fill(0);
    blocks.forEach((block, i) => {
      block.copy(this.block(1 + ((start - 1 + i) % length)));
    });
    this.setField(0x1c, start);
  }
}

describe.runIf(ready)('the log', () => {
  /** Two transactions: descriptor, three copies, commit; descriptor, one copy, commit. Eight blocks of log. */
  function dirty(open: string, ...options: string[]): { image: string; expected: Buffer; blockSize: number } {
    const { image, blocks, content, blockSize } = imageWithFile(...options);
    const first = noise(blockSize * 3, 200);
    const second = noise(blockSize, 201);
    debugfs(image, [open, `jw -b ${blocks.slice(0, 3).join(',')} $0`, `jw -b ${blocks[5]} $1`, 'jc'], [first, second]);
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
    const { ours, repaired } = await bothReadings(image);
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
    const { ours, repaired } = await bothReadings(image);
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
    const { image } = imageWithFile('-b', '1024');
    debugfs(image, ['ssv journal_inum 0', 'ssv journal_dev 0x801', 'feature needs_recovery']);
    await expect(mount(load(image))).rejects.toMatchObject({
      message: expect.stringContaining('on another device'),
      hint: expect.stringContaining('e2fsck -f -j JOURNAL_DEVICE'),
    });
  });
});

const kernelMayMount = ready && mayMount(folder, 'ext4', ['mke2fs', '-q', '-F', '-t', 'ext4', '-O', '^has_journal']);

describe.runIf(kernelMayMount)('replays what the kernel wrote', () => {
  /** Mounts a new file system, lets `script` work in it, and returns the image as it was before unmounting. */
  function whileMounted(
    script: string,
    mountOptions: string,
    ...options: string[]
  ): { image: string; expected: Buffer } {
    const image = path('.img');
    const at = path('.mnt');
    run('mkdir', [at]);
    run('truncate', ['-s', '32M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-J', 'size=4', ...options, image]);
    run('mount', ['-o', `loop,${mountOptions}`, image, at]);
    try {
      run('sh', ['-ec', script], { input: '', accept: [0], cwd: at });
      const dirty = path('.dirty');
      copyFileSync(image, dirty);
      return { image: dirty, expected: readFileSync(join(at, 'f')) };
    } finally {
      run('umount', [at]);
    }
  }

  const script = `
    head -c 49152 /dev/urandom > f; mkdir d; for i in $(seq 200); do echo $i > d/file-$i; done; sync .
    rm d/file-1??; head -c 49152 /dev/urandom > f2; mv f2 f; ln -s f link; sync f .
    for i in $(seq 30); do mkdir d/sub-$i; sync d; rmdir d/sub-$i; done; echo end > d/end; sync f d/end`;

  test.each([
    ['ordered data', 'data=ordered', []],
    ['journalled data', 'data=journal', []],
    ['1 KiB blocks and checksummed commits', 'journal_checksum', ['-b', '1024']],
    ['block maps without metadata checksums', 'data=journal', ['-O', '^extents,^64bit,^metadata_csum', '-b', '1024']],
  ] as const)('%s', async (_, mountOptions, options) => {
    const { image, expected } = whileMounted(script, mountOptions, ...options);
    const { ours, repaired, notes } = await bothReadings(image);
    expect(notes[0]).toMatch(/replayed in memory/);
    expect(repaired.equals(expected), 'e2fsck').toBe(true);
    expect(ours.equals(expected), 'tsvmm').toBe(true);
    const fileSystem = await mount(load(image));
    expect((await fileSystem.readFile('/d/end', 10)).toString()).toBe('end\n');
    const names = (await fileSystem.list('/d')).map((entry) => entry.name);
    expect(names.sort()).toEqual(
      [
        ...Array.from({ length: 200 }, (_, i) => `file-${i + 1}`).filter((name) => !/^file-1..$/.test(name)),
        'end',
      ].sort(),
    );
  });

  test('refuses fast commits', async () => {
    const { image } = whileMounted(
      `${script}; sync .; sync -f .; echo more > d/more; sync d/more; echo again >> d/more; sync d/more`,
      'data=ordered',
      '-O',
      'fast_commit',
    );
    await expect(mount(load(image))).rejects.toMatchObject({
      message: expect.stringContaining('fast commits'),
      hint: expect.stringContaining('e2fsck -f'),
    });
  });
});
