/** Functions of this thread as a machine's disk. Main thread. */
import type { OpenUserDisk } from '../disk/user-channel.js';
import { UserOperation } from '../disk/user-channel.js';
import type { UserDiskFacts, UserDiskSource } from '../disk/user-disk.js';
import { type DiskRequests, type DiskWarning, nobody } from './user-disk-requests.js';
import { UserDiskServer } from './user-disk-server.js';

export class DiskFunctions implements UserDiskSource {
  readonly facts: UserDiskFacts;
  readonly #requests: DiskRequests;
  #server: UserDiskServer | undefined;

  /** `requests` are the disk's, and outlive the machine: what still runs then is waited for by the next. */
  constructor(facts: UserDiskFacts, requests: DiskRequests, warn: DiskWarning) {
    this.facts = facts;
    this.#requests = requests;
    requests.warn = warn;
  }

  serve(disk: OpenUserDisk): void {
    this.#server = new UserDiskServer(disk, this.#requests);
  }

  read(offset: number, length: number, signal: AbortSignal): Promise<Uint8Array> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const onAbort = (): void => {
        this.#requests.abort(request, signal.reason);
        reject(signal.reason);
      };
      signal.addEventListener('abort', onAbort, { once: true });
      const request = this.#requests.add({
        operation: UserOperation.read,
        offset,
        length,
        ended: (failure, bytes) => {
          signal.removeEventListener('abort', onAbort);
          if (failure === undefined)
            resolve(new Uint8Array(bytes!)); // a copy: the function may still have its buffer
          else reject(new Error(failure.message, { cause: failure.cause }));
        },
      });
    });
  }

  async fail(why: string): Promise<void> {
    this.#requests.warn(`the disk ${why}; every request fails from now on`, 0, undefined);
    await this.#requests.close({ message: `the disk ${why}` });
  }

  async close(): Promise<void> {
    this.#server?.close();
    await this.#requests.settled();
    this.#requests.warn = nobody; // the disk may outlive its machine by far
  }
}
