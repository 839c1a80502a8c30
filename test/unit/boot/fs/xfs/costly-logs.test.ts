/**
 * Huge claims in small images: dirty logs that are made to take the reader's memory or time. Each is replayed or refused
 * within its bounds.
 */
import { describe, expect, test } from 'vitest';
import { ample, costOf } from '../../../../support/cost.js';
import { haveTools, load, type MemoryDisk, mount, scratch } from '../images.js';
import { recordMagic, sumRecord } from './sum-record.js';
import { XfsImages } from './xfs-images.js';

const ready = haveTools('mkfs.xfs');
const xfs = new XfsImages(scratch());
const flag = { start: 1, commit: 2, continued: 8 } as const;
const sector = 512;
const recordBytes = 32 * 1024;

function operation(transaction: number, data: Buffer, flags: number): Buffer {
  const header = Buffer.alloc(12);
  header.writeUInt32BE(transaction, 0);
  header.writeUInt32BE(data.length, 4);
  header.writeUInt8(0x69, 8);
  header.writeUInt8(flags, 9);
  return Buffer.concat([header, data]);
}

const header = Buffer.from('4e415254'.padEnd(32, '0'), 'hex');

/** A committed transaction of items, each of one region. */
function* transaction(id: number, regions: Iterable<Buffer>): Generator<Buffer> {
  yield operation(id, Buffer.alloc(0), flag.start);
  yield operation(id, header, 0);
  for (const region of regions) yield operation(id, region, 0);
  yield operation(id, Buffer.alloc(0), flag.commit);
}

/** A file system whose log holds `operations` and was never written before. */
function withLog(operations: Iterable<Buffer>): MemoryDisk {
  const disk = load(xfs.make('48M', ['-l', 'size=24m', '-d', 'agcount=1']));
  const { bytes } = disk;
  const blockSize = bytes.readUInt32BE(4);
  const start = Number(bytes.readBigUInt64BE(48)) * blockSize;
  const end = start + bytes.readUInt32BE(96) * blockSize;
  bytes.fill(0, start, end);
  let at = 0;
  let content: Buffer[] = [];
  let length = 0;
  const flush = (): void => {
    const blocks = Math.ceil(length / sector);
    const record = bytes.subarray(start + at * sector, start + (at + 1 + blocks) * sector);
    Buffer.concat(content).copy(record, sector);
    for (const [offset, value] of [
      [0, recordMagic],
      [4, 1],
      [8, 2],
      [12, length],
      [16, 1],
      [20, at],
      [24, 1],
      [40, content.length],
      [300, 1],
      [320, recordBytes],
    ] as const)
      record.writeUInt32BE(value, offset);
    bytes.copy(record, 304, 32, 48);
    for (let block = 0; block < blocks; block++) {
      record.copy(record, 44 + block * 4, (block + 1) * sector, (block + 1) * sector + 4);
      record.writeUInt32BE(1, (block + 1) * sector);
    }
    sumRecord(record.subarray(0, sector), record.subarray(sector, sector + length));
    at += 1 + blocks;
    content = [];
    length = 0;
  };
  for (const bytes of operations) {
    if (length + bytes.length > recordBytes) flush();
    content.push(bytes);
    length += bytes.length;
  }
  flush();
  if (start + at * sector > end - 1024 * 1024) throw new Error('the log is too small for this');
  return disk;
}

const count = function* (from: number, to: number, region: (i: number) => Buffer): Generator<Buffer> {
  for (let i = from; i < to; i++) yield region(i);
};

const intent = (type: number) => (number: number) => {
  const region = Buffer.alloc(16);
  region.writeUInt16LE(type, 0);
  region.writeUInt16LE(1, 2);
  region.writeBigUInt64LE(0xffff_8881_0000_0000n + BigInt(number), 8); // an address of a kernel
  return region;
};

function freed(block: number): Buffer {
  const region = Buffer.alloc(20);
  for (const [i, value] of [0x123c, 1, 2, 1].entries()) region.writeUInt16LE(value, i * 2);
  region.writeBigInt64LE(BigInt(block), 8);
  return region;
}

describe.runIf(ready)('huge claims in small images: logs of XFS', () => {
  const [begun, done] = [intent(0x1244), intent(0x1245)];

  test('with more intents than can be under way', async () => {
    const disk = withLog([...transaction(1, count(0, 40_000, begun)), ...transaction(2, count(40_000, 70_000, begun))]);
    const { result, memory, cpu } = await costOf(() => mount(disk));
    expect(result).toMatchObject({
      code: 'ERR_TSVMM_DISK_FORMAT',
      message: expect.stringContaining('more than 65536 intents that are not done'),
    });
    expect(memory).toBeLessThan(160);
    expect(cpu).toBeLessThan(ample(10_000));
  });

  test('with as many that are done', async () => {
    const disk = withLog(
      [0, 40_000].flatMap((from, i) => [
        ...transaction(2 * i + 1, count(from, from + 40_000, begun)),
        ...transaction(2 * i + 2, count(from, from + 40_000, done)),
      ]),
    );
    expect((await mount(disk)).notes).toEqual([expect.stringContaining('4 log transactions')]);
    const one = await mount(withLog(transaction(1, [begun(0), begun(1), done(0)])));
    expect(one.notes).toContainEqual(expect.stringContaining('being cloned or exchanged'));
  });

  test('with more freed buffers than are remembered, or one outside the disk', async () => {
    const disk = withLog(
      transaction(
        1,
        count(0, 140_000, (i) => freed(i % 90_000)),
      ),
    );
    const { result, memory, cpu } = await costOf(() => mount(disk));
    expect(result).toMatchObject({ message: expect.stringContaining('it frees more than 131072 buffers') });
    expect(memory).toBeLessThan(160);
    expect(cpu).toBeLessThan(ample(10_000));
    await expect(mount(withLog(transaction(1, [freed(2 ** 52)])))).rejects.toThrow('it frees a buffer at');
    await expect(mount(withLog(transaction(1, [freed(-1)])))).rejects.toThrow('it frees a buffer at -1');
    expect((await mount(withLog(transaction(1, [freed(80), freed(80)])))).notes).toHaveLength(1);
  });

  test('with regions that come byte by byte', async () => {
    const parts = 131_071;
    const byte = Buffer.from('x');
    const operations = function* (): Generator<Buffer> {
      yield operation(1, Buffer.alloc(0), flag.start);
      yield operation(1, header, 0);
      yield operation(1, Buffer.from([0x40, 0x12, 7, 0]), 0);
      const [first, more] = [operation(1, byte, 0), operation(1, byte, flag.continued)];
      for (let region = 0; region < 3; region++) {
        yield first;
        for (let i = 0; i < parts; i++) yield more;
      }
      yield operation(1, Buffer.alloc(0), flag.commit);
    };
    const disk = withLog(operations());
    const { result, memory, cpu } = await costOf(() => mount(disk));
    expect(result).toMatchObject({ message: expect.stringContaining('an item is not complete') }); // it has 4 of 7 regions
    expect(memory).toBeLessThan(192);
    expect(cpu).toBeLessThan(ample(8000));
  });
});
