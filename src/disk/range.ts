/**
 * The range check and the quoting that every reader of disk images shares. Any thread.
 */
import { TsvmmError } from '../errors.js';

/** Throws `ERR_TSVMM_DISK_IO` unless `length` bytes at `offset` lie inside `size`. The form survives NaN and huge values. */
export function checkRange(offset: number, length: number, size: number, what: string): void {
  if (
    Number.isSafeInteger(offset) &&
    Number.isSafeInteger(length) &&
    offset >= 0 &&
    length >= 0 &&
    offset <= size - length
  )
    return;
  throw new TsvmmError(
    'ERR_TSVMM_DISK_IO',
    `${what}: read of ${length} bytes at ${offset} is outside its ${size} bytes`,
  );
}

/** A character as JSON escapes it. */
export const escaped = (char: string): string => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** A path or name as it may be shown: quoted, with control characters (a guest may choose them) escaped. */
export function quote(text: string): string {
  return JSON.stringify(text).replace(/[\u007f-\u009f\u200e\u200f\u2028-\u202e\u2066-\u2069]/g, escaped);
}

/** A path as one word of a shell command, for hints that can be pasted. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}
