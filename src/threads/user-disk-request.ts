/** One request of a user's disk on its way through the user's functions. The thread of these functions. */
import { UserOperation } from '../disk/user-channel.js';
import type { RequestContext } from '../disk/user-disk.js';

/** Why a request failed. */
export interface RequestFailure {
  readonly message: string;
  readonly cause?: unknown;
}

export interface RequestOptions {
  /** A `UserOperation`. */
  readonly operation: number;
  readonly offset: number;
  readonly length: number;
  /** Of a write: a copy of its data, made when its turn comes. */
  readonly data?: () => Buffer;
  /** Once. A read that succeeded has its bytes, which are valid during the call. */
  readonly ended: (failure: RequestFailure | undefined, bytes: Uint8Array | undefined) => void;
}

/** The signal is made for who looks at it: most functions do not. */
class Context implements RequestContext {
  #controller: AbortController | undefined;
  #aborted: { readonly reason: unknown } | undefined;

  get signal(): AbortSignal {
    if (this.#controller === undefined) {
      this.#controller = new AbortController();
      if (this.#aborted !== undefined) this.#controller.abort(this.#aborted.reason);
    }
    return this.#controller.signal;
  }

  abort(reason: unknown): void {
    this.#aborted = { reason };
    this.#controller?.abort(reason);
  }
}

export class UserRequest {
  readonly operation: number;
  readonly offset: number;
  readonly length: number;
  readonly data: (() => Buffer) | undefined;
  readonly context = new Context();
  readonly #ended: RequestOptions['ended'];
  readonly #deadline: NodeJS.Timeout;
  #isOver = false;

  /** `late` is called when it has not ended in time. */
  constructor(options: RequestOptions, timeout: number, late: () => void) {
    this.operation = options.operation;
    this.offset = options.offset;
    this.length = options.length;
    this.data = options.data;
    this.#ended = options.ended;
    this.#deadline = setTimeout(late, timeout).unref();
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  /** What is answered later is nobody's. */
  end(failure: RequestFailure | undefined, bytes?: Uint8Array): void {
    if (this.#isOver) return;
    this.#isOver = true;
    clearTimeout(this.#deadline);
    this.#ended(failure, bytes);
  }

  /** It changes what it touches. */
  get changes(): boolean {
    return this.operation !== UserOperation.read && this.operation !== UserOperation.flush;
  }

  overlaps(other: UserRequest): boolean {
    return this.offset < other.offset + other.length && other.offset < this.offset + this.length;
  }
}
