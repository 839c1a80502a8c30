/** What a program says of a disk that its own functions serve: checked. Main thread. */
import { channelSlots } from '../disk/user-channel.js';
import {
  type RequestContext,
  type UserDisk,
  type UserDiskFacts,
  type UserDiskFunctions,
  userDiskFunctions,
  userDiskNames,
} from '../disk/user-disk.js';
import { bad, boolean, hasOptions, integer, known } from './checks.js';
import { type Duration, parseDuration, parseSize, type Size, show } from './units.js';

type Awaitable<T> = T | Promise<T>;

/**
 * A disk as functions. Offsets and lengths are bytes, multiples of `blockSize`, inside the disk, at most 1 MiB at a time.
 * Buffers are copies, the function's own for good. A function that throws or rejects, or does not settle within `timeout`,
 * is an I/O error to the guest for that request, and a `warning` of the machine.
 */
export interface DiskHandlers {
  /** A positive multiple of `blockSize`. */
  size: Size;
  /** What the guest reads and writes in. Default: 512, or what the disk's partition table counts in. */
  blockSize?: 512 | 4096 | undefined;
  /** Default: true without `write`. */
  readOnly?: boolean | undefined;
  /** Calls that have not settled, at most, from 1 to 16; more requests wait. Default 8. */
  concurrency?: number | undefined;
  /** Until a request has failed, from when it is handed over. Default 30 s. */
  timeout?: Duration | undefined;
  /** Fills all of `into`, or answers with as many bytes. */
  // biome-ignore lint/suspicious/noConfusingVoidType: a function that returns nothing is one that fills its buffer
  read(offset: number, into: Buffer, context: RequestContext): Awaitable<void | Uint8Array>;
  write?: ((offset: number, data: Buffer, context: RequestContext) => Awaitable<void>) | undefined;
  /** Makes durable what was written by calls of `write` that have settled. Without it, what `write` has done is durable. */
  flush?: ((context: RequestContext) => Awaitable<void>) | undefined;
  /** The content of these bytes (at most 1 GiB) is not needed any more. Without it nothing is done. */
  discard?: ((offset: number, length: number, context: RequestContext) => Awaitable<void>) | undefined;
  /** These bytes (at most 1 GiB) are to be read as zeroes. Without it `write` writes them. */
  zeroes?: ((offset: number, length: number, context: RequestContext) => Awaitable<void>) | undefined;
}

const defaultConcurrency = 8;
const defaultTimeout = 30_000;
const blockSizes: readonly unknown[] = [512, 4096];

/** `what` names it in messages. */
export function diskHandlers(what: string, value: unknown): UserDisk {
  if (!hasOptions(value)) throw bad(`${what}: expected functions`, 'pass { size, read(offset, into) { ... } }');
  const facts = diskFacts(what, value as Readonly<Record<string, unknown>>, isPlain(value));
  const functions: Partial<Record<(typeof userDiskFunctions)[number], unknown>> = {};
  for (const name of userDiskFunctions) {
    const found = (value as Record<string, unknown>)[name];
    if (found !== undefined) functions[name] = (found as (...values: unknown[]) => unknown).bind(value);
  }
  return { facts, functions: functions as UserDiskFunctions };
}

/** An instance of a class may have state of its own beside what is known here. */
function isPlain(value: object): boolean {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null;
}

/** From the values alone: of a module, functions are not here, but something stands for them. */
export function diskFacts(what: string, value: Readonly<Record<string, unknown>>, isPlain: boolean): UserDiskFacts {
  if (isPlain) known(what, value, [...userDiskNames, ...userDiskFunctions]);
  for (const name of userDiskFunctions) {
    const found = value[name];
    if (found === undefined && name !== 'read') continue;
    if (typeof found !== 'function')
      throw bad(
        `${what}.${name}: expected a function, got ${show(found)}`,
        name === 'read' ? 'pass read(offset, into) { ... }' : 'leave it out if the disk cannot do that',
      );
  }
  const { blockSize } = value;
  if (blockSize !== undefined && !blockSizes.includes(blockSize))
    throw bad(`${what}.blockSize: ${show(blockSize)} is not possible`, 'use 512 or 4096');
  const writes = value['write'] !== undefined;
  const readOnly = value['readOnly'] === undefined ? !writes : boolean(`${what}.readOnly`, value['readOnly']);
  if (!readOnly && !writes)
    throw bad(`${what}: it is to be written, and has no function write`, 'add one, or leave readOnly out');
  return {
    size: diskSize(`${what}.size`, value['size'], (blockSize as number | undefined) ?? 512),
    blockSize: blockSize as UserDiskFacts['blockSize'],
    readOnly,
    concurrency: integer(`${what}.concurrency`, value['concurrency'] ?? defaultConcurrency, 1, channelSlots),
    timeout: deadline(`${what}.timeout`, value['timeout'] ?? defaultTimeout),
    flushes: value['flush'] !== undefined,
    discards: value['discard'] !== undefined,
    zeroes: value['zeroes'] !== undefined,
  };
}

function diskSize(what: string, value: unknown, blockSize: number): number {
  const size = parseSize(what, value);
  if (size > 0 && size % blockSize === 0) return size;
  throw bad(`${what}: ${show(value)} is not possible`, `use a positive multiple of ${blockSize}`);
}

function deadline(what: string, value: unknown): number {
  const timeout = parseDuration(what, value);
  if (timeout >= 1) return timeout;
  throw bad(`${what}: ${show(value)} is not possible`, 'use at least 1 ms');
}
