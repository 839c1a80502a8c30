/**
 * Answers what the I/O worker asks of a user's disk. The thread of the user's functions: main, or the worker of their module.
 *
 * Data is copied once more here, out of the channel for a function and into it from what a function has answered: a place in
 * the channel is free for the next request as soon as this one has ended, while its function may still be at work.
 */
import { channelSlots, type OpenUserDisk, SlotState, UserChannel, UserOperation } from '../disk/user-channel.js';
import { Doorbell } from '../host/doorbell.js';
import { Errno } from '../host/errno.js';
import type { UserRequest } from './user-disk-request.js';
import type { DiskRequests } from './user-disk-requests.js';

export class UserDiskServer {
  readonly #channel: UserChannel;
  readonly #requests: DiskRequests;
  readonly #doorbell: Doorbell;
  readonly #taken: ({ readonly request: UserRequest; readonly epoch: number } | undefined)[] = new Array(channelSlots);
  #epoch: number;

  /** If another thread has served this channel before, it is gone, and what it had taken fails. */
  constructor(disk: OpenUserDisk, requests: DiskRequests) {
    this.#channel = new UserChannel(disk);
    this.#requests = requests;
    this.#epoch = this.#channel.epoch;
    this.#doorbell = new Doorbell(() => this.#look(), disk.serverDoorbell);
    this.#doorbell.unref();
    for (let slot = 0; slot < channelSlots; slot++)
      if (this.#channel.state(slot) === SlotState.taken) this.#channel.complete(slot, -Errno.EIO);
    this.#channel.ringIoAnyway();
    this.#look();
  }

  /** Nothing is answered any more; the functions at work are told. */
  close(): void {
    this.#doorbell.unwatch();
    for (const taken of this.#taken) if (taken !== undefined) this.#requests.abort(taken.request, aborted());
  }

  #look(): void {
    this.#channel.serverLooks();
    const { epoch } = this.#channel;
    if (epoch !== this.#epoch) {
      this.#epoch = epoch;
      for (const taken of this.#taken)
        if (taken !== undefined && taken.epoch !== epoch) this.#requests.abort(taken.request, aborted());
    }
    for (const slot of this.#submitted()) this.#take(slot, epoch);
  }

  /** In the order in which they were asked. */
  #submitted(): number[] {
    const slots: number[] = [];
    for (let slot = 0; slot < channelSlots; slot++)
      if (this.#channel.state(slot) === SlotState.submitted) slots.push(slot);
    return slots.sort((a, b) => (this.#channel.sequence(a) - this.#channel.sequence(b)) | 0);
  }

  #take(slot: number, epoch: number): void {
    const channel = this.#channel;
    const [operation, length] = [channel.operation(slot), channel.length(slot)];
    channel.setState(slot, SlotState.taken);
    if (channel.epochOf(slot) !== epoch) {
      this.#answer(slot, -Errno.ECANCELED);
      return;
    }
    let ended = false;
    const request = this.#requests.add({
      operation,
      offset: channel.offset(slot),
      length,
      data: () => {
        const data = Buffer.allocUnsafeSlow(length); // not a piece of Node's pool, which is everybody's
        data.set(channel.data(slot, length));
        return data;
      },
      ended: (failure, bytes) => {
        ended = true;
        this.#taken[slot] = undefined;
        if (bytes !== undefined && operation === UserOperation.read) channel.data(slot, length).set(bytes);
        this.#answer(slot, failure === undefined ? 0 : -Errno.EIO);
      },
    });
    if (!ended) this.#taken[slot] = { request, epoch };
  }

  #answer(slot: number, result: number): void {
    this.#channel.complete(slot, result);
    this.#channel.ringIo();
  }
}

const aborted = (): Error => new DOMException('the machine does not wait for this request any more', 'AbortError');
