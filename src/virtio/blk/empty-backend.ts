/**
 * What a drive has that nothing is in: no sectors, so that the device refuses every transfer before it comes here. The I/O
 * worker.
 */
import { Errno } from '../../host/errno.js';
import type { DataPathHost } from '../device.js';
import type { BlkBackend, BlkRequests } from './blk-backend.js';

export class EmptyBackend implements BlkBackend {
  readonly slotCount = 0;
  readonly read = (request: number): void => this.#requests.done(request, -Errno.ENOMEDIUM);
  readonly write = this.read;
  readonly discard = this.read;
  readonly writeZeroes = this.read;
  #requests!: BlkRequests;

  attach(_host: DataPathHost, requests: BlkRequests): void {
    this.#requests = requests;
  }

  /** What was written was made durable when it was taken out. */
  flush(request: number): void {
    this.#requests.done(request, 0);
  }

  activate(): void {}
  onCompletion(): void {}
  stop(): void {}
  close(): void {}
}
