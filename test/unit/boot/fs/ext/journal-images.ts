/**
 * Images with dirty journals, made by debugfs, and what e2fsck makes of them.
 */
import { copyFileSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import { load, mount, noise, plant, run } from '../images.js';

export const fileSize = 12 * 4096;

export class JournalImages {
  readonly folder: string;
  #made = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  path(suffix: string): string {
    return join(this.folder, `${++this.#made}${suffix}`);
  }

  /** An image with one file /f of twelve 4 KiB blocks, and the numbers of its blocks. */
  imageWithFile(...options: string[]): { image: string; blocks: number[]; content: Buffer; blockSize: number } {
    const image = this.path('.img');
    const root = this.path('.root');
    const content = noise(fileSize, 77);
    plant(root, { f: content, other: noise(100) });
    run('truncate', ['-s', '12M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-J', 'size=4', '-d', root, ...options, image]);
    const blocks = run('debugfs', ['-R', 'blocks /f', image]).trim().split(/\s+/).map(Number);
    return { image, blocks, content, blockSize: options.includes('1024') ? 1024 : 4096 };
  }

  /** Runs debugfs commands; `$0`, `$1`, ... stand for data files. */
  debugfs(image: string, commands: string[], data: Buffer[] = []): void {
    const files = data.map((bytes) => {
      const file = this.path('.data');
      writeFileSync(file, bytes);
      return file;
    });
    run('debugfs', ['-w', '-f', '-', image], {
      input: commands.map((line) => line.replace(/\$(\d+)/g, (_, i) => files[Number(i)]!)).join('\n'),
    });
  }

  /** The file /f as it is in the dirty image, and as it is after e2fsck has replayed the journal of a copy. */
  async bothReadings(image: string): Promise<{ ours: Buffer; notes: readonly string[]; repaired: Buffer }> {
    const fileSystem = await mount(load(image));
    const copy = this.path('.copy');
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
}

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
export class Journal {
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
