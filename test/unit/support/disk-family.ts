/**
 * Disks that are frozen and copied, each on the bench with what it should hold: a disk of files, a driver that has several
 * requests under way, and a model in memory.
 */
import type { DiskFile } from '../../../src/disk/disk-file.js';
import type { FrozenContent } from '../../../src/disk/frozen-content.js';
import { openFrozen } from '../../../src/disk/frozen-file.js';
import type { IoEngine } from '../../../src/host/engine.js';
import { BlkDevice } from '../../../src/virtio/blk/blk.js';
import { BlkFeature, BlkStatus, blkConfig } from '../../../src/virtio/blk/blk-format.js';
import { discard, read, sector, write, zeroes } from './blk-disks.js';
import { DeviceBench } from './device-bench.js';
import type { Placed } from './mock-driver.js';
import { mappedRam } from './test-ram.js';

const features = [BlkFeature.flush, BlkFeature.discard, BlkFeature.writeZeroes];
/** Longer than any test waits for the kernel. */
const deadlineMs = 30_000;

export interface DiskOperation {
  readonly do: 'read' | 'write' | 'discard' | 'zeroes' | 'holes';
  readonly at: number;
  readonly sectors: number;
  /** What is written. */
  readonly fill: number;
}

interface Asked {
  readonly from: number;
  readonly to: number;
  readonly changes: boolean;
  check(status: number, data: Buffer): void;
}

export class FamilyDisk {
  readonly file: DiskFile;
  readonly bench: DeviceBench;
  readonly device: BlkDevice;
  /** What it should hold. */
  content: Buffer;
  /** Statuses that are no surprise. */
  allowed: readonly number[] = [BlkStatus.ok];
  readonly #engine: IoEngine;
  readonly #asked = new Map<number, Asked>();

  constructor(file: DiskFile, content: Buffer, engine: IoEngine) {
    this.file = file;
    this.content = content;
    this.#engine = engine;
    this.device = new BlkDevice({ disk: file.open, id: 'family', removable: true });
    const config = blkConfig({ name: 'disk0', size: file.size, readOnly: file.readOnly });
    const options = { engine, features, config, queueSize: 256, maxChain: 256 };
    this.bench = new DeviceBench(this.device, mappedRam(0x40_0000), options);
  }

  get isBusy(): boolean {
    return this.#asked.size > 0;
  }

  /** Offers a request, unless one under way has to do with the same sectors. */
  offer(operation: DiskOperation): void {
    const sectors = this.content.length / sector;
    const unit = (this.file.open.direct?.offset ?? sector) / sector;
    const down = (at: number): number => Math.floor(at / unit) * unit;
    const first = down(operation.at % sectors);
    const end = Math.min(down(first + operation.sectors - 1) + unit, sectors);
    const count = end - first;
    const [from, to] = [first * sector, end * sector];
    const changes = operation.do !== 'read';
    if (changes && this.file.readOnly) return;
    for (const other of this.#asked.values())
      if (other.from < to && from < other.to && (changes || other.changes)) return;
    const range = this.content.subarray(from, to);
    const { driver } = this.bench;
    const ask = (buffers: Parameters<typeof driver.offer>[0], check: Asked['check'] = () => {}): void => {
      this.#asked.set(driver.offer(buffers), { from, to, changes, check });
    };
    switch (operation.do) {
      case 'read': {
        const expected = Buffer.from(range);
        ask(read(first, to - from), (status, data) => {
          if (status === BlkStatus.ok && !data.equals(expected)) throw new Error(difference(from, data, expected));
        });
        break;
      }
      case 'write':
        range.fill(operation.fill);
        for (let at = 0; at < range.length; at += sector) range.writeUInt32LE((first + at / sector) >>> 0, at);
        ask(write(first, Buffer.from(range)));
        break;
      default:
        range.fill(0);
        ask(
          operation.do === 'discard'
            ? discard([first, count])
            : zeroes([first, count, operation.do === 'holes' ? 1 : 0]),
        );
    }
  }

  /** One batch, and what has been answered by then. */
  turn(): void {
    this.bench.turn();
    for (const { head, buffers } of this.bench.driver.collect()) {
      const asked = this.#asked.get(head)!;
      this.#asked.delete(head);
      const bytes = Buffer.concat(
        buffers.filter(({ writable }) => writable).map((buffer: Placed) => this.#read(buffer)),
      );
      const status = bytes.at(-1)!;
      if (!this.allowed.includes(status))
        throw new Error(`status ${status} at ${asked.from}: ${this.bench.warnings.join(', ')}`);
      asked.check(status, bytes.subarray(0, -1));
    }
  }

  /** Reads all of it. */
  look(): void {
    const sectors = this.content.length / sector;
    for (let at = 0; at < sectors; at += 1024) {
      this.offer({ do: 'read', at, sectors: Math.min(1024, sectors - at), fill: 0 });
      settle([this]);
    }
  }

  /** What it has, whatever it should. */
  readNow(at: number, count: number): Uint8Array {
    const bytes = Math.min(count * sector, this.content.length - at * sector);
    let found = Buffer.alloc(0);
    const head = this.bench.driver.offer(read(at, bytes));
    const check = (_status: number, data: Buffer): void => {
      found = Buffer.from(data);
    };
    this.#asked.set(head, { from: at * sector, to: at * sector + bytes, changes: false, check });
    settle([this]);
    return found;
  }

  /** While nothing is under way, as main has it done by the I/O worker. */
  async freeze(prepares = false): Promise<FrozenContent> {
    if (prepares) await this.file.prepareFreeze();
    const frozen = await this.file.freeze();
    this.device.exchange(this.file.open);
    return frozen;
  }

  async grow(bytes: number): Promise<void> {
    await this.file.grow(this.file.size + bytes);
    this.content = Buffer.concat([this.content, Buffer.alloc(bytes)]);
    this.device.exchange(this.file.open);
  }

  async forget(): Promise<void> {
    this.file.forget();
    this.device.exchange(this.file.open);
    await this.file.forgotten();
  }

  /** The driver goes away in the middle of what it does, and another comes. What was under way may be done or not. */
  reset(): void {
    this.device.stop();
    while (this.bench.slots.outstanding > 0) this.#engine.turn(true);
    this.bench.driver.reset();
    this.#asked.clear();
    this.bench.activate();
  }

  async close(): Promise<void> {
    this.bench.close();
    await this.file.close();
  }

  #read(buffer: Placed): Uint8Array {
    return this.bench.driver.read(buffer);
  }
}

/** Until all of them have their answers. */
export function settle(disks: readonly FamilyDisk[]): void {
  const deadline = performance.now() + deadlineMs;
  while (disks.some(({ isBusy }) => isBusy)) {
    for (const disk of disks) disk.turn();
    if (performance.now() > deadline) throw new Error('a request is not answered');
  }
}

export async function copyOf(frozen: FrozenContent, content: Buffer, engine: IoEngine): Promise<FamilyDisk> {
  return new FamilyDisk(await openFrozen(frozen), Buffer.from(content), engine);
}

function difference(from: number, found: Buffer, expected: Buffer): string {
  const at = found.findIndex((byte, index) => byte !== expected[index]);
  const words = (bytes: Buffer): string => bytes.subarray(at & ~3, (at & ~3) + 8).toString('hex');
  return `at byte ${from + at}: found ${words(found)}, expected ${words(expected)}`;
}
