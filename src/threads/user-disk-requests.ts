/**
 * Calls the functions of a user's disk: at most so many at a time, each with a deadline, and checks what they answer. The
 * thread of these functions.
 *
 * They are as little trusted as a guest. What they get is a buffer of this request alone, and what they do with it after
 * they have answered reaches nobody. A request ends at its deadline, or when nobody wants it any more, whatever its function
 * does; but the function keeps its place until it settles, so that functions which never do cost bounded memory. One that
 * was to write is waited for, too, by every later request for the same bytes: its late write would undo a newer one.
 */
import { types } from 'node:util';
import { UserOperation, userOperationNames } from '../disk/user-channel.js';
import type { UserDisk } from '../disk/user-disk.js';
import { TsvmmError } from '../errors.js';
import { type RequestFailure, type RequestOptions, UserRequest } from './user-disk-request.js';
import { WarningLimit } from './warning-limit.js';

/** How long an end waits for functions that run. */
const settleMs = 1000;
const reasonLength = 300;

export const nobody = (): void => {};
export type DiskWarning = (message: string, suppressed: number, cause: unknown) => void;

export class DiskRequests {
  readonly #disk: UserDisk;
  /** Who is told: the machine that has the disk. */
  warn: DiskWarning;
  readonly #limit = new WarningLimit();
  readonly #waiting: UserRequest[] = [];
  /** Called and not settled, whether anybody waits for them or not. */
  readonly #running = new Set<UserRequest>();
  #closed: RequestFailure | undefined;
  /** To be called when no function runs. */
  #idle: (() => void)[] = [];

  constructor(disk: UserDisk, warn: DiskWarning = nobody) {
    this.#disk = disk;
    this.warn = warn;
  }

  /** Functions that have been called and have not settled. */
  get running(): number {
    return this.#running.size;
  }

  add(options: RequestOptions): UserRequest {
    const { timeout } = this.#disk.facts;
    const request: UserRequest = new UserRequest(options, timeout, () => {
      const failure = { message: `no answer in ${timeout} ms` };
      this.#fail(request, failure);
      this.#leave(request, new TsvmmError('ERR_TSVMM_TIMEOUT', `the disk request took longer than ${timeout} ms`));
    });
    if (this.#closed !== undefined) this.#fail(request, this.#closed);
    else {
      this.#waiting.push(request);
      this.#callNext();
    }
    return request;
  }

  /** Nobody wants it any more. Its function is told, and what it answers is dropped. */
  abort(request: UserRequest, reason: unknown): void {
    request.end({ message: 'aborted', cause: reason });
    this.#leave(request, reason);
  }

  /** Whatever comes later fails for this reason, and so does what waits. Resolves when all has settled or is given up. */
  async close(failure: RequestFailure): Promise<void> {
    this.#closed ??= failure;
    for (const request of [...this.#waiting, ...this.#running])
      this.abort(request, failure.cause ?? new Error(failure.message));
    await this.settled();
  }

  /** Resolves when no function runs, or after a moment. */
  async settled(): Promise<void> {
    if (this.#running.size === 0) return;
    await new Promise<void>((resolve) => {
      const givenUp = setTimeout(resolve, settleMs);
      this.#idle.push(() => {
        clearTimeout(givenUp);
        resolve();
      });
    });
  }

  /** Of what has ended: a place among those that wait is free, and one that runs is told. */
  #leave(request: UserRequest, reason: unknown): void {
    const at = this.#waiting.indexOf(request);
    if (at >= 0) this.#waiting.splice(at, 1);
    else request.context.abort(reason);
    this.#callNext();
  }

  #callNext(): void {
    const { concurrency } = this.#disk.facts;
    for (let at = 0; at < this.#waiting.length && this.#running.size < concurrency; ) {
      const request = this.#waiting[at]!;
      if (this.#mustWait(request)) at++;
      else {
        this.#waiting.splice(at, 1);
        this.#call(request);
      }
    }
  }

  /** For a write that has failed, of which nobody knows whether it will still come to pass. */
  #mustWait(request: UserRequest): boolean {
    if (request.operation === UserOperation.flush) return false;
    for (const other of this.#running) if (other.isOver && other.changes && other.overlaps(request)) return true;
    return false;
  }

  #call(request: UserRequest): void {
    this.#running.add(request);
    let into: Buffer | undefined;
    // What was thrown, and what is no true promise, ends here as well.
    const answer = new Promise<unknown>((resolve) => {
      if (request.operation === UserOperation.read) into = Buffer.alloc(request.length);
      resolve(this.#function(request, into));
    });
    answer.then(
      (value) => {
        const bytes = into === undefined ? undefined : answered(into, request.length, value);
        this.#settle(
          request,
          typeof bytes === 'string' ? { message: bytes } : undefined,
          bytes as Uint8Array | undefined,
        );
      },
      (error: unknown) => this.#settle(request, { message: reasonOf(error), cause: error }),
    );
  }

  #function({ operation, offset, length, data, context }: UserRequest, into: Buffer | undefined): unknown {
    const { read, write, flush, discard, zeroes } = this.#disk.functions;
    switch (operation) {
      case UserOperation.read:
        return read(offset, into!, context);
      case UserOperation.write:
        return write!(offset, data!(), context);
      case UserOperation.flush:
        return flush?.(context);
      case UserOperation.discard:
        return discard?.(offset, length, context);
      case UserOperation.zeroes:
        return zeroes!(offset, length, context);
      default:
        throw new RangeError(`no operation ${operation}`);
    }
  }

  #settle(request: UserRequest, failure: RequestFailure | undefined, bytes?: Uint8Array): void {
    this.#running.delete(request);
    if (failure === undefined) request.end(undefined, bytes);
    else this.#fail(request, failure);
    this.#callNext();
    if (this.#running.size === 0) for (const idle of this.#idle.splice(0)) idle();
  }

  #fail(request: UserRequest, failure: RequestFailure): void {
    if (request.isOver) return;
    request.end(failure);
    const { operation, offset, length } = request;
    const name = userOperationNames[operation];
    const what = name === 'flush' ? name : `${name} of ${length} bytes at byte ${offset}`;
    const suppressed = this.#limit.pass();
    if (suppressed >= 0) this.warn(`disk ${what} failed: ${failure.message}`, suppressed, failure.cause);
  }
}

const lengthOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'length')!.get!;

/** What a read has answered: its bytes, or what is wrong with them. A function can pretend about its values, not here. */
function answered(into: Buffer, wanted: number, value: unknown): Uint8Array | string {
  const bytes = value === undefined ? into : value;
  if (!types.isUint8Array(bytes)) return `it answered with ${kindOf(value)} and not with nothing or a Uint8Array`;
  const given = lengthOf.call(bytes) as number;
  if (given === wanted) return bytes;
  return value === undefined ? 'it gave its buffer away' : `it answered with ${given} bytes instead of ${wanted}`;
}

const kindOf = (value: unknown): string => (value === null ? 'null' : `a value of type ${typeof value}`);

/** A reason that may be shown: never long, whatever was thrown. */
export function reasonOf(error: unknown): string {
  try {
    const text = types.isNativeError(error) ? String(error.message) || error.name : String(error);
    return text.slice(0, reasonLength);
  } catch {
    return 'something that is no error was thrown';
  }
}
