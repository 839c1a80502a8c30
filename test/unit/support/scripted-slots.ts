/**
 * I/O slots that do as a test says: they record what a device starts and complete it when told, moving as many bytes as
 * told between the first buffer of the operation and a file, by plain system calls.
 */
import { native } from '../../../src/host/addon.js';
import { BatchClock } from '../../../src/host/batch-clock.js';
import type { IoClient, IoEngine } from '../../../src/host/engine.js';
import { type IoSlots, Operation } from '../../../src/host/engine-slots.js';
import { Sys } from '../../../src/host/system.js';

export interface Started {
  readonly operation: 'read' | 'write' | 'readv' | 'writev' | 'dataSync' | 'allocate';
  readonly slot: number;
  readonly fd: number;
  readonly address: number;
  readonly length: number;
  readonly offset: number;
  readonly flags: number;
}

const names: Readonly<Record<number, Started['operation']>> = {
  [Operation.read]: 'read',
  [Operation.write]: 'write',
  [Operation.readVector]: 'readv',
  [Operation.writeVector]: 'writev',
  [Operation.briefWrite]: 'write',
  [Operation.briefWriteVector]: 'writev',
};

export class ScriptedEngine implements IoEngine {
  readonly kind = 'epoll';
  readonly behind = false;
  readonly pending = false;
  readonly clock = new BatchClock();
  /** Everything that was ever started. */
  readonly log: Started[] = [];
  readonly waiting: Started[] = [];
  /** Most bytes that one operation moves. */
  limit = Number.POSITIVE_INFINITY;
  /** Modes of fallocate(2) that the file system does not have, and its answer. */
  readonly unable = new Map<number, number>();
  #client!: IoClient;
  #slots!: { outstanding: number };

  claim(client: IoClient, count: number): IoSlots {
    this.#client = client;
    const start =
      (operation: Started['operation']) =>
      (slot: number, fd: number, address = 0, length = 0, offset = 0, flags = 0) => {
        if (slot < 0 || slot >= count || this.waiting.some((other) => other.slot === slot))
          throw new Error(`slot ${slot}`);
        const started = { operation, slot, fd, address, length, offset, flags };
        this.log.push(started);
        this.waiting.push(started);
        this.#slots.outstanding++;
      };
    const address = new Float64Array(count);
    const offset = new Float64Array(count);
    const slots = {
      outstanding: 0,
      address,
      offset,
      begin: (slot: number, operation: Operation, fd: number, length: number, flags: number) =>
        start(names[operation]!)(slot, fd, address[slot], length, offset[slot], flags),
      read: start('read'),
      write: start('write'),
      dataSync: start('dataSync'),
      allocate: (slot: number, fd: number, mode: number, offset: number, bytes: number) =>
        start('allocate')(slot, fd, 0, bytes, offset, mode),
      release: () => {},
    };
    this.#slots = slots;
    return slots as unknown as IoSlots;
  }

  /** Completes the oldest operation, with its own result unless another is given. */
  complete(result?: number): void {
    const started = this.waiting.shift()!;
    this.#slots.outstanding--;
    this.#client.onCompletion(started.slot, result ?? this.#perform(started));
  }

  turn(): number {
    if (this.waiting.length === 0) return 0;
    this.complete();
    return 1;
  }

  close(): void {}

  #perform({ operation, fd, address, length, offset, flags }: Started): number {
    if (operation === 'dataSync') return 0;
    if (operation === 'allocate')
      return this.unable.get(flags) ?? native().syscall(Sys.fallocate, fd, flags, offset, length);
    let buffer = address;
    let bytes = length;
    if (operation === 'readv' || operation === 'writev') {
      const vector = new Uint8Array(16);
      native().copyOut(address, vector);
      const view = new DataView(vector.buffer);
      buffer = Number(view.getBigUint64(0, true));
      bytes = Number(view.getBigUint64(8, true));
    }
    const number = operation === 'read' || operation === 'readv' ? Sys.pread64 : Sys.pwrite64;
    return native().syscall(number, fd, buffer, Math.min(bytes, this.limit), offset);
  }
}
