/**
 * A disk of functions on the bench: what the I/O worker and the thread of the functions do to each other, on one thread and
 * in steps, with functions that settle when the test says so.
 */
import { setImmediate as turnOfTheLoop } from 'node:timers/promises';
import {
  allocateChannel,
  channelSlots,
  type OpenUserDisk,
  SlotState,
  UserChannel,
} from '../../../src/disk/user-channel.js';
import type { UserDiskFacts, UserDiskFunctions } from '../../../src/disk/user-disk.js';
import type { IoEngine } from '../../../src/host/engine.js';
import { closeFd, eventFd } from '../../../src/host/system.js';
import { DiskRequests } from '../../../src/threads/user-disk-requests.js';
import { UserDiskServer } from '../../../src/threads/user-disk-server.js';
import { BlkDevice } from '../../../src/virtio/blk/blk.js';
import { BlkFeature, blkConfig } from '../../../src/virtio/blk/blk-format.js';
import type { DataPath } from '../../../src/virtio/device.js';
import { DeviceBench } from './device-bench.js';
import { type MockBuffer, readable, writable } from './mock-driver.js';
import { mappedRam } from './test-ram.js';

export const sector = 512;
const Type = { in: 0, out: 1, flush: 4, discard: 11, writeZeroes: 13 } as const;

export function header(type: number, at = 0): Uint8Array {
  const bytes = Buffer.alloc(16);
  bytes.writeUInt32LE(type, 0);
  bytes.writeBigUInt64LE(BigInt(at), 8);
  return bytes;
}

export const read = (at: number, length: number): MockBuffer[] => [
  readable(header(Type.in, at)),
  writable(length),
  writable(1),
];
export const write = (at: number, data: Uint8Array): MockBuffer[] => [
  readable(header(Type.out, at)),
  readable(data),
  writable(1),
];
export const flush = (): MockBuffer[] => [readable(header(Type.flush)), writable(1)];

function clear(type: number, at: number, length: number): MockBuffer[] {
  const range = Buffer.alloc(16);
  range.writeBigUInt64LE(BigInt(at), 0);
  range.writeUInt32LE(length / sector, 8);
  return [readable(header(type)), readable(range), writable(1)];
}
export const discard = (at: number, length: number): MockBuffer[] => clear(Type.discard, at, length);
export const zero = (at: number, length: number): MockBuffer[] => clear(Type.writeZeroes, at, length);

export interface Answer {
  readonly status: number;
  readonly data: Buffer;
}

/** Calls that have been made and wait for the test. */
export class HeldCalls {
  readonly #held: { readonly run: () => void }[] = [];

  get size(): number {
    return this.#held.length;
  }

  /** Resolves with what `effect` answers, once the test lets it. */
  hold<T>(effect: () => T): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const run = (): void => {
        try {
          resolve(effect());
        } catch (error) {
          reject(error);
        }
      };
      this.#held.push({ run });
    });
  }

  /** Lets one of them go on; `choice` is any whole number. */
  release(choice = 0): void {
    this.#held.splice(choice % Math.max(1, this.#held.length), 1)[0]?.run();
  }
}

const usual: UserDiskFacts = {
  size: 256 * sector,
  blockSize: undefined,
  readOnly: false,
  concurrency: 8,
  timeout: 10_000,
  flushes: true,
  discards: false,
  zeroes: false,
};

export class UserDiskBench {
  readonly warnings: string[] = [];
  readonly requests: DiskRequests;
  readonly open: OpenUserDisk;
  readonly answers = new Map<number, Answer>();
  bench: DeviceBench;
  #server: UserDiskServer;
  readonly #engine: IoEngine;
  readonly #features: readonly number[];
  readonly #numbers = new Map<number, number>();
  #next = 0;

  constructor(
    engine: IoEngine,
    functions: UserDiskFunctions,
    facts: Partial<UserDiskFacts> = {},
    features: readonly number[] = [BlkFeature.flush, BlkFeature.discard, BlkFeature.writeZeroes],
  ) {
    this.#engine = engine;
    this.#features = features;
    const all = { ...usual, ...facts };
    this.requests = new DiskRequests({ facts: all, functions }, (message) => void this.warnings.push(message));
    this.open = {
      kind: 'user',
      size: all.size,
      readOnly: all.readOnly,
      blockSize: all.blockSize ?? sector,
      flushes: all.flushes,
      discards: all.discards,
      zeroes: all.zeroes,
      channel: allocateChannel(),
      ioDoorbell: eventFd(),
      serverDoorbell: eventFd(),
    };
    this.#server = new UserDiskServer(this.open, this.requests);
    this.bench = this.#newBench();
  }

  /** The number of a request, by which its answer is found. */
  offer(buffers: MockBuffer[]): number {
    const number = this.#next++;
    this.#numbers.set(this.bench.driver.offer(buffers), number);
    return number;
  }

  /** A batch of the I/O worker, and a turn of the other side's event loop. */
  async step(): Promise<void> {
    this.bench.turn();
    await turnOfTheLoop();
    this.bench.turn();
    for (const { head, buffers } of this.bench.driver.collect()) {
      const number = this.#numbers.get(head)!;
      this.#numbers.delete(head);
      if (this.answers.has(number)) throw new Error(`request ${number} is answered twice`);
      const written = buffers.filter(({ writable }) => writable).map((buffer) => this.bench.driver.read(buffer));
      const bytes = Buffer.concat(written);
      this.answers.set(number, { status: bytes.at(-1)!, data: Buffer.from(bytes.subarray(0, -1)) });
    }
  }

  async until(done: () => boolean, between: () => void = () => {}): Promise<void> {
    for (let steps = 0; !done(); steps++) {
      if (steps > 100_000) throw new Error('it does not happen');
      between();
      await this.step();
    }
  }

  async answer(number: number, between?: () => void): Promise<Answer> {
    await this.until(() => this.answers.has(number), between);
    return this.answers.get(number)!;
  }

  /** The driver resets the device and starts again, or the machine does; nothing of what it asked is answered. */
  reset(ofTheMachine = false): void {
    this.#numbers.clear();
    const { device, slots, ram } = this.bench;
    if (ofTheMachine) this.bench.close();
    else {
      device.stop();
      while (slots.outstanding > 0) this.#engine.turn(true);
      slots.release();
      ram.close(); // whoever still touched it would be found out
    }
    this.bench = this.#newBench(ofTheMachine ? undefined : device);
  }

  /** The thread with the functions has taken what was asked, and died; another takes its place. */
  loseServer(): void {
    const channel = new UserChannel(this.open);
    this.#server.close();
    for (let slot = 0; slot < channelSlots; slot++)
      if (channel.state(slot) === SlotState.submitted) channel.setState(slot, SlotState.taken);
    this.#server = new UserDiskServer(this.open, this.requests);
  }

  close(): void {
    this.bench.close();
    this.#server.close();
    closeFd(this.open.ioDoorbell);
    closeFd(this.open.serverDoorbell);
  }

  #newBench(device: DataPath = new BlkDevice({ disk: this.open, id: 'user' })): DeviceBench {
    const { size, readOnly } = this.open;
    return new DeviceBench(device, mappedRam(0x80_0000), {
      engine: this.#engine,
      features: this.#features,
      config: blkConfig({ name: 'blk0', size, readOnly }),
      queueSize: 64,
    });
  }
}
