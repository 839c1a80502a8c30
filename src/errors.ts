/**
 * The one error class of tsvmm and its stable codes. Any thread.
 *
 * A mistake of the guest is never an error of this kind: it is a value (see virtio/), so that no guest can make the
 * host throw. `TsvmmError` speaks to the person who embeds or runs tsvmm: what, where, and in `hint` how to fix it.
 */
export type ErrorCode = `ERR_TSVMM_${
  | 'CONFIG'
  | 'STATE'
  | 'TIMEOUT'
  | 'UNSUPPORTED_RUNTIME'
  | 'UNSUPPORTED_PLATFORM'
  | 'NATIVE_MISSING'
  | 'KVM_MISSING'
  | 'KVM_DENIED'
  | 'KVM_CAPABILITY'
  | 'KVM_IOCTL'
  | 'DISK_FORMAT'
  | 'DISK_LOCKED'
  | 'DISK_IO'
  | 'BOOT_NOT_FOUND'
  | 'BOOT_KERNEL'
  | 'NETWORK'
  | 'SNAPSHOT'
  | 'WORKER_DIED'
  | 'GUEST'}`;

/** One step of a start, in milliseconds since `start()` was called; a moment has no duration. */
export interface Phase {
  name: string;
  startMs: number;
  durationMs: number;
  /** Of what the console showed (`guest: ...`): the guest kernel's own clock then, if it said. */
  guestMs?: number;
}

export interface TsvmmErrorOptions extends ErrorOptions {
  /** How to fix it, as one sentence or one command. A cause that has one by itself stands before it; default: that of the cause. */
  hint?: string | undefined;
  details?: Record<string, unknown> | undefined;
  consoleTail?: string | undefined;
  phases?: Phase[] | undefined;
}

/** An error as it crosses a thread: structured clone drops the class and its fields. */
export interface WireError {
  code: ErrorCode;
  message: string;
  hint?: string | undefined;
  details?: Record<string, unknown> | undefined;
  stack?: string | undefined;
}

/** Whatever met it: a disk, an eventfd, a worker that could not load its code. */
export const raiseOpenFiles = 'raise the limit of open files: ulimit -n 65536';

/** Node says of a worker that got no event loop only in words why (ERR_WORKER_INIT_FAILED). */
const metLimit = ({ code, message }: { code?: unknown; message?: unknown }): boolean =>
  code === 'EMFILE' || (code === 'ERR_WORKER_INIT_FAILED' && String(message).endsWith('EMFILE'));

const remedyOf = (cause: unknown): string | undefined =>
  typeof cause === 'object' && cause !== null && metLimit(cause) ? raiseOpenFiles : undefined;

/** Of an error of ours, also of one that has ended its thread: Node keeps the fields of such, and not the class. */
function hintOf(cause: unknown): string | undefined {
  const { name, hint } = (cause ?? {}) as Partial<TsvmmError>;
  return name === 'TsvmmError' && typeof hint === 'string' ? hint : undefined;
}

const brand = Symbol.for('tsvmm.error');

export class TsvmmError extends Error {
  readonly code: ErrorCode;
  hint?: string;
  details?: Record<string, unknown>;
  consoleTail?: string;
  phases?: Phase[];

  constructor(code: ErrorCode, message: string, options: TsvmmErrorOptions = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = 'TsvmmError';
    this.code = code;
    const hint = remedyOf(options.cause) ?? options.hint ?? hintOf(options.cause);
    if (hint !== undefined) this.hint = hint;
    if (options.details !== undefined) this.details = options.details;
    if (options.consoleTail !== undefined) this.consoleTail = options.consoleTail;
    if (options.phases !== undefined) this.phases = options.phases;
    Object.defineProperty(this, brand, { value: true });
  }

  /** True across two copies of the package in one program. */
  static override [Symbol.hasInstance](value: unknown): boolean {
    return typeof value === 'object' && value !== null && (value as Record<symbol, unknown>)[brand] === true;
  }

  /** @internal */
  toWire(): WireError {
    return { code: this.code, message: this.message, hint: this.hint, details: this.details, stack: this.stack };
  }
}

/** The error that `toWire` made of one in another thread. */
export function fromWire(wire: WireError): TsvmmError {
  const error = new TsvmmError(wire.code, wire.message, { hint: wire.hint, details: wire.details });
  if (wire.stack !== undefined) error.stack = wire.stack;
  return error;
}

/** Any thrown value as a `TsvmmError`; what is already one stays itself. */
export function asTsvmmError(value: unknown, code: ErrorCode): TsvmmError {
  if (value instanceof TsvmmError) return value;
  const message = value instanceof Error ? value.message : String(value);
  return new TsvmmError(code, message, { cause: value });
}
