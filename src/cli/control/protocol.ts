/**
 * What is spoken on the socket of a machine, but for the stream that a console is (frames.ts). Main thread; pure.
 *
 * Lines of JSON, in UTF-8, each at most `mostLine` bytes with its line feed. The machine's process speaks first:
 *
 *   {"tsvmm":1,"name":"web","pid":4711}                     hello: the version of this protocol, and who speaks
 *
 * and then answers requests, one after the other, in their order:
 *
 *   {"command":"stop","timeoutMs":10000}                    commands/ has a file for each
 *   {"result":{"reason":"stopped"}}
 *   {"error":{"code":"ERR_TSVMM_STATE","message":"...","hint":"..."}}
 *
 * Before the answer to a request that asked for it there may come lines that say how far it is:
 *
 *   {"progress":{"done":1048576,"total":134217728}}
 *
 * What is no request is answered with an error, and the next line is read; only after a line that is too long, of which nobody
 * knows where it ends, is the connection closed. Nothing that comes is believed before it is checked, on either side.
 */
import { type ErrorCode, TsvmmError } from '../../errors.js';
import { isErrorCode } from '../exit-codes.js';
import { jsonLine } from '../json-events.js';
import { wholeNumber } from './fields.js';
import { isMachineName } from './machine-name.js';

/** It changes when a process of the one version would misunderstand one of the other; a command more is no such change. */
export const protocolVersion = 1;
export const mostLine = 16 * 1024;
const lineFeed = 0x0a;

type JsonObject = Readonly<Record<string, unknown>>;

/** Cuts what comes into lines. */
export class LineReader {
  #pending: Buffer = Buffer.alloc(0);

  push(chunk: Buffer): void {
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk]);
  }

  /** The next line without its line feed; undefined until it is complete. */
  take(): Buffer | undefined {
    const end = this.#pending.indexOf(lineFeed);
    if (end < 0 || end >= mostLine) return undefined;
    const line = this.#pending.subarray(0, end);
    this.#pending = this.#pending.subarray(end + 1);
    return line;
  }

  /** The next line is longer than any may be. */
  get isTooLong(): boolean {
    return this.#pending.length >= mostLine && !this.#pending.subarray(0, mostLine).includes(lineFeed);
  }

  /** What follows the lines taken so far: it is no line any more. */
  rest(): Buffer {
    const rest = this.#pending;
    this.#pending = Buffer.alloc(0);
    return rest;
  }
}

const isObject = (value: unknown): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** The object that a line is; throws `ERR_TSVMM_CONFIG` when it is something else. */
export function parseLine(line: Buffer): JsonObject {
  let value: unknown;
  try {
    value = JSON.parse(line.toString('utf8'));
  } catch {
    // said below
  }
  if (isObject(value)) return value;
  throw new TsvmmError('ERR_TSVMM_CONFIG', 'a line is no JSON object', { hint: 'send {"command":"status"}' });
}

export interface Hello {
  readonly name: string;
  readonly pid: number;
}

export const helloLine = ({ name, pid }: Hello): string => jsonLine({ tsvmm: protocolVersion, name, pid });

/** Who is at the other end; throws `ERR_TSVMM_STATE` when that is no machine, or one that speaks otherwise. */
export function parseHello(object: JsonObject): Hello {
  const { tsvmm, name, pid, error } = object as { tsvmm?: unknown; name?: unknown; pid?: unknown; error?: unknown };
  if (error !== undefined) throw parseError(error);
  if (tsvmm !== undefined && tsvmm !== protocolVersion)
    throw new TsvmmError(
      'ERR_TSVMM_STATE',
      `it speaks version ${Number(tsvmm)} of the protocol, and this is version ${protocolVersion}`,
      {
        hint: 'use the tsvmm that started the machine',
      },
    );
  if (tsvmm === protocolVersion && typeof name === 'string' && isMachineName(name) && Number.isSafeInteger(pid))
    return { name, pid: pid as number };
  throw notUnderstood();
}

export const resultLine = (result: object): string => jsonLine({ result });
export const errorLine = ({
  code,
  message,
  hint,
}: {
  code: ErrorCode;
  message: string;
  hint?: string | undefined;
}): string => jsonLine({ error: { code, message, hint } });

export const progressLine = (done: number, total: number): string => jsonLine({ progress: { done, total } });

export interface ProgressReport {
  readonly done: number;
  readonly total: number;
}

/** How far it is, if the line says that instead of an answer. */
export function parseProgress({ progress }: { progress?: unknown }): ProgressReport | undefined {
  if (progress === undefined) return undefined;
  if (!isObject(progress)) throw notUnderstood();
  const { done, total } = progress;
  if (!wholeNumber(done) || !wholeNumber(total) || done > total) throw notUnderstood();
  return { done, total };
}

/** The result in an answer; throws the error in it. */
export function parseAnswer({ result, error }: { result?: unknown; error?: unknown }): JsonObject {
  if (error !== undefined) throw parseError(error);
  if (isObject(result)) return result;
  throw notUnderstood();
}

function parseError(value: unknown): TsvmmError {
  if (!isObject(value)) return notUnderstood();
  const { code, message, hint } = value as { code?: unknown; message?: unknown; hint?: unknown };
  if (!isErrorCode(code) || typeof message !== 'string') return notUnderstood();
  return new TsvmmError(code, message, { hint: typeof hint === 'string' ? hint : undefined });
}

const notUnderstood = (): TsvmmError =>
  new TsvmmError('ERR_TSVMM_STATE', 'what it answers is not understood', {
    hint: 'use the tsvmm that started the machine',
  });
