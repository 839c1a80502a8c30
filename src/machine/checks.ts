/**
 * Checks of single values that a program passed: each answers the value with its type, or throws one `ERR_TSVMM_CONFIG`
 * that names the option, what it was and what it may be. Main thread.
 */
import { fileURLToPath } from 'node:url';
import { TsvmmError } from '../errors.js';
import { didYouMean } from '../suggest.js';
import { show } from './units.js';

export type Path = string | URL;

export const bad = (message: string, hint: string): TsvmmError => new TsvmmError('ERR_TSVMM_CONFIG', message, { hint });

/** An object with options in it; a list has none, so that it would pass for `{}`. */
export const hasOptions = (value: unknown): value is object =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A misspelt option must not be silently ignored. */
export function known(where: string, value: object, names: readonly string[]): void {
  const stranger = Object.keys(value).find((key) => !names.includes(key));
  if (stranger !== undefined)
    throw bad(
      `${where}: there is no option "${stranger}"`,
      didYouMean(stranger, names, `the options are: ${names.join(', ')}`),
    );
}

export function oneOf<T extends string>(what: string, value: unknown, values: readonly T[]): T {
  if (values.includes(value as T)) return value as T;
  throw bad(
    `${what}: ${show(value)} is not known`,
    didYouMean(typeof value === 'string' ? value : '', values, `use one of: ${values.join(', ')}`),
  );
}

export function integer(what: string, value: unknown, least: number, most: number): number {
  if (typeof value === 'number' && Number.isInteger(value) && value >= least && value <= most) return value;
  throw bad(`${what}: ${show(value)} is not possible`, `use a whole number from ${least} to ${most}`);
}

export function boolean(what: string, value: unknown): boolean {
  if (typeof value === 'boolean') return value;
  throw bad(`${what}: ${show(value)} is not possible`, 'use true or false');
}

export function text(what: string, value: unknown): string {
  if (typeof value === 'string' && !value.includes('\0')) return value;
  throw bad(`${what}: expected text, got ${show(value)}`, 'pass a string without NUL characters');
}

export function path(what: string, value: unknown): string {
  const file = text(what, value instanceof URL ? fileOf(what, value) : value);
  if (file === '') throw bad(`${what}: the path is empty`, 'pass the path of a file');
  return file;
}

function fileOf(what: string, url: URL): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw bad(`${what}: ${show(url)} is not the URL of a file here: ${(cause as Error).message}`, 'use file:///PATH');
  }
}
