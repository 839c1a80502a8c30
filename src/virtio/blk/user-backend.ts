/**
 * A disk that functions of the embedding program serve, on another thread: requests go there and come back by a channel of
 * shared memory, their data as copies. The I/O worker.
 *
 * A long request is asked in parts, and what finds no place in the channel waits its turn. Nothing here waits for the other
 * side: when the driver goes, its requests end at once, the other side is told that they have become pointless, and what it
 * still answers frees its place and does nothing else. The one I/O slot reads the doorbell while requests are under way, so
 * that a device with some of them is not quiet.
 */
import {
  channelSlots,
  type OpenUserDisk,
  partBytes,
  SlotState,
  UserChannel,
  UserOperation,
} from '../../disk/user-channel.js';
import { copiedAtOnce } from '../../host/engine.js';
import { Errno } from '../../host/errno.js';
import { freeArrays } from '../../host/free-arrays.js';
import { IndexRing } from '../../host/index-ring.js';
import type { DataPathHost } from '../device.js';
import type { Chain } from '../queue/chain.js';
import type { BlkBackend, BlkRequests } from './blk-backend.js';
import { headerSize, maxChain } from './blk-format.js';
import { RequestBuffers } from './request-buffers.js';

const DOORBELL = 0;
/** Of what has no data, one call may name so much. */
const wholeBytes = 2 ** 30;

export class UserBackend implements BlkBackend {
  readonly slotCount = 1;
  readonly #disk: OpenUserDisk;
  readonly #channel: UserChannel;
  readonly #buffers: RequestBuffers;
  readonly #offsets: Float64Array;
  #host!: DataPathHost;
  #requests!: BlkRequests;
  #sequence = 0;
  /** Requests that have not ended. */
  #active = 0;
  #copied = 0;

  // One request each.
  readonly #isActive: Uint8Array;
  readonly #operation: Uint8Array;
  readonly #durable: Uint8Array;
  /** What is written are zeroes, and not of the guest's buffers. */
  readonly #isZero: Uint8Array;
  readonly #offset: Float64Array;
  readonly #bytes: Float64Array;
  /** How much has been asked for, and how many parts of it are not back. */
  readonly #asked: Float64Array;
  readonly #parts: Uint16Array;
  readonly #result: Int32Array;

  /** Requests of which more is to be asked; the one whose turn it is stands before them. */
  readonly #waiting: IndexRing;
  #current = -1;

  // One place of the channel each: whose part it has (-1: nobody's any more), and which part.
  readonly #owner = new Int16Array(channelSlots).fill(-1);
  readonly #partAt = new Float64Array(channelSlots);
  readonly #partLength = new Float64Array(channelSlots);

  constructor(disk: OpenUserDisk, offsets: Float64Array) {
    const requests = offsets.length;
    this.#offsets = offsets;
    this.#disk = disk;
    this.#channel = new UserChannel(disk);
    this.#buffers = new RequestBuffers(requests, maxChain);
    this.#isActive = new Uint8Array(requests);
    this.#operation = new Uint8Array(requests);
    this.#durable = new Uint8Array(requests);
    this.#isZero = new Uint8Array(requests);
    this.#offset = new Float64Array(requests);
    this.#bytes = new Float64Array(requests);
    this.#asked = new Float64Array(requests);
    this.#parts = new Uint16Array(requests);
    this.#result = new Int32Array(requests);
    this.#waiting = new IndexRing(requests);
  }

  attach(host: DataPathHost, requests: BlkRequests): void {
    this.#host = host;
    this.#requests = requests;
    // What another I/O worker may have left when it died: requests, or the note of a ring that nobody heard.
    this.#channel.nextEpoch();
    this.#channel.ringServer();
    this.#channel.ioLooks();
    this.#channel.ringIo();
  }

  activate(): void {}

  read(request: number, bytes: number, chain: Chain): void {
    this.#buffers.keep(request, chain, chain.readableCount, chain.count, 0, bytes);
    this.#begin(request, UserOperation.read, this.#offsets[request]!, bytes, false);
  }

  write(request: number, bytes: number, chain: Chain, durable: boolean): void {
    this.#buffers.keep(request, chain, 0, chain.readableCount, headerSize, bytes);
    this.#begin(request, UserOperation.write, this.#offsets[request]!, bytes, durable);
  }

  /** A hint: blocks of which only a part is named stay. */
  discard(request: number, bytes: number): void {
    const offset = this.#offsets[request]!;
    const { blockSize, discards } = this.#disk;
    const first = Math.ceil(offset / blockSize) * blockSize;
    const length = Math.floor((offset + bytes) / blockSize) * blockSize - first;
    if (discards && length > 0) this.#begin(request, UserOperation.discard, first, length, false);
    else this.#requests.done(request, 0);
  }

  /** By the function for it, or by that for writes. */
  writeZeroes(request: number, bytes: number, _unmap: boolean, durable: boolean): void {
    const operation = this.#disk.zeroes ? UserOperation.zeroes : UserOperation.write;
    this.#begin(request, operation, this.#offsets[request]!, bytes, durable, true);
  }

  flush(request: number): void {
    if (this.#disk.flushes) this.#begin(request, UserOperation.flush, 0, 0, false);
    else this.#requests.done(request, 0);
  }

  /** The doorbell was rung, or its read was cancelled. */
  onCompletion(): void {
    this.#channel.ioLooks();
    this.#copied = 0;
    for (let slot = 0; slot < channelSlots; slot++) {
      if (this.#channel.state(slot) !== SlotState.done) continue;
      if (this.#copied >= copiedAtOnce) {
        this.#channel.ringIo(); // the rest in the next batch
        break;
      }
      this.#takeBack(slot);
    }
    this.#ask();
    this.#listen();
  }

  stop(): void {
    this.#channel.nextEpoch();
    this.#channel.ringServer();
    this.#owner.fill(-1);
    while (this.#waiting.size > 0) this.#waiting.shift();
    this.#current = -1;
    for (let request = 0; request < this.#isActive.length; request++)
      if (this.#isActive[request] === 1) this.#end(request, 0);
    if (this.#host.slots.isBusy(DOORBELL)) this.#host.slots.cancel(DOORBELL);
  }

  close(): void {
    this.#buffers.close();
    this.#waiting.close();
    freeArrays(this.#isActive, this.#operation, this.#durable, this.#isZero, this.#offset, this.#bytes);
    freeArrays(this.#asked, this.#parts, this.#result, this.#partAt, this.#partLength);
  }

  #begin(request: number, operation: number, offset: number, bytes: number, durable: boolean, zeroes = false): void {
    this.#isActive[request] = 1;
    this.#active++;
    this.#operation[request] = operation;
    this.#isZero[request] = zeroes ? 1 : 0;
    this.#durable[request] = durable && this.#disk.flushes ? 1 : 0;
    this.#offset[request] = offset;
    this.#bytes[request] = bytes;
    this.#asked[request] = 0;
    this.#parts[request] = 0;
    this.#result[request] = 0;
    if (offset % this.#disk.blockSize !== 0 || bytes % this.#disk.blockSize !== 0) {
      this.#end(request, -Errno.EINVAL); // the functions are promised whole blocks
      return;
    }
    this.#waiting.push(request);
    this.#ask();
    this.#listen();
  }

  /** Asks for as much of what waits as there is room for. */
  #ask(): void {
    let asked = false;
    for (;;) {
      if (this.#current < 0) this.#current = this.#waiting.shift();
      if (this.#current < 0) break;
      const slot = this.#freeSlot();
      if (slot < 0) break; // one that comes back rings
      if (this.#copied >= copiedAtOnce) {
        this.#channel.ringIo();
        break;
      }
      this.#askPart(this.#current, slot);
      asked = true;
    }
    if (asked) this.#channel.ringServer();
  }

  #askPart(request: number, slot: number): void {
    const operation = this.#operation[request]!;
    const at = this.#asked[request]!;
    const moves = operation === UserOperation.read || operation === UserOperation.write;
    const length = Math.min(this.#bytes[request]! - at, moves ? partBytes : wholeBytes);
    if (operation === UserOperation.write) {
      const data = this.#channel.data(slot, length);
      if (this.#isZero[request] === 1) {
        data.fill(0);
        this.#requests.moves(length);
      } else this.#buffers.copyOut(this.#host.memory, request, at, data);
      this.#copied += length;
      if (this.#host.memory.isLost) {
        this.#loseMemory(request);
        return;
      }
    }
    this.#owner[slot] = request;
    this.#partAt[slot] = at;
    this.#partLength[slot] = length;
    this.#parts[request]! += 1;
    this.#asked[request] = at + length;
    if (at + length === this.#bytes[request]) this.#current = -1;
    this.#sequence = (this.#sequence + 1) | 0;
    this.#channel.submit(slot, this.#sequence, operation, this.#offset[request]! + at, length);
  }

  /** Never zeroes in the place of what was to be written: the rest is not asked for. */
  #loseMemory(request: number): void {
    this.#result[request] ||= -Errno.EIO;
    this.#asked[request] = this.#bytes[request]!;
    this.#current = -1;
    this.#parts[request]! += 1;
    this.#partEnded(request);
  }

  /** A place that nobody has: also one whose answer nobody waits for. */
  #freeSlot(): number {
    for (let slot = 0; slot < channelSlots; slot++) {
      const state = this.#channel.state(slot);
      if (state === SlotState.free || (state === SlotState.done && this.#owner[slot]! < 0)) return slot;
    }
    return -1;
  }

  #takeBack(slot: number): void {
    const request = this.#owner[slot]!;
    this.#owner[slot] = -1;
    if (request >= 0) {
      const result = this.#channel.result(slot);
      if (result < 0) {
        this.#result[request] ||= result;
        this.#asked[request] = this.#bytes[request]!; // the rest is not asked for
        if (this.#current === request) this.#current = -1;
      } else if (this.#operation[request] === UserOperation.read) {
        const length = this.#partLength[slot]!;
        this.#buffers.copyIn(this.#host.memory, request, this.#partAt[slot]!, this.#channel.data(slot, length));
        this.#copied += length;
      }
    }
    this.#channel.setState(slot, SlotState.free);
    if (request >= 0) this.#partEnded(request);
  }

  #partEnded(request: number): void {
    this.#parts[request]! -= 1;
    if (this.#parts[request]! > 0 || this.#asked[request]! < this.#bytes[request]!) return;
    if (this.#durable[request] === 1 && this.#result[request] === 0) {
      this.#durable[request] = 0;
      this.#operation[request] = UserOperation.flush;
      this.#bytes[request] = 0;
      this.#asked[request] = 0;
      this.#waiting.push(request);
    } else this.#end(request, this.#result[request]!);
  }

  #end(request: number, result: number): void {
    this.#isActive[request] = 0;
    this.#active--;
    this.#requests.done(request, result);
  }

  #listen(): void {
    if (this.#active > 0 && !this.#host.slots.isBusy(DOORBELL))
      this.#host.slots.eventRead(DOORBELL, this.#disk.ioDoorbell);
  }
}
