/** What a message on a machine's socket may carry: each field is checked by its kind when it is read. Main thread; pure. */
import { TsvmmError } from '../../errors.js';
import { show } from '../../machine/units.js';
import { isMachineName } from './machine-name.js';

export type Kind<T> = (value: unknown) => value is T;
export type Shape = Readonly<Record<string, Kind<unknown>>>;
export type FieldsOf<S extends Shape> = { readonly [K in keyof S]: S[K] extends Kind<infer T> ? T : never };

const isWhole = (value: unknown, least: number, most: number): value is number =>
  Number.isInteger(value) && (value as number) >= least && (value as number) <= most;

export const aSwitch: Kind<boolean> = (value): value is boolean => typeof value === 'boolean';
/** What a timer of Node's can wait for. */
export const milliseconds: Kind<number> = (value): value is number => isWhole(value, 1, 2 ** 31 - 1);
export const wholeNumber: Kind<number> = (value): value is number => isWhole(value, 0, Number.MAX_SAFE_INTEGER);
/** 'running', 'power-off': a word of ours, and nothing that a terminal could take for a command. */
export const word: Kind<string> = (value): value is string =>
  typeof value === 'string' && /^[a-z][a-z-]{0,31}$/.test(value);

const longestPath = 4096;
/** As path_resolution(7) has it: what is relative means another place in another process. */
export const absolutePath: Kind<string> = (value): value is string =>
  typeof value === 'string' && value.startsWith('/') && !value.includes('\0') && Buffer.byteLength(value) < longestPath;
export const machineNameKind: Kind<string> = (value): value is string =>
  typeof value === 'string' && isMachineName(value);
export const namesKind: Kind<readonly string[]> = (value): value is readonly string[] =>
  Array.isArray(value) && value.every(machineNameKind);
/** From 1 on. */
export const smallNumber =
  (most: number): Kind<number> =>
  (value): value is number =>
    isWhole(value, 1, most);
export const oneOfWords =
  <const T extends string>(words: readonly T[]): Kind<T> =>
  (value): value is T =>
    (words as readonly unknown[]).includes(value);

const wrong = (message: string, hint?: string): TsvmmError => new TsvmmError('ERR_TSVMM_CONFIG', message, { hint });

/** The fields of a request, each of which may be left out; throws `ERR_TSVMM_CONFIG`. A field that is not known is a mistake, too. */
export function readRequest<S extends Shape>(
  shape: S,
  object: Readonly<Record<string, unknown>>,
): Partial<FieldsOf<S>> {
  const unknown = Object.keys(object).find((name) => !Object.hasOwn(shape, name));
  if (unknown !== undefined) {
    const known = Object.keys(shape).join(', ');
    throw wrong(`there is no field ${show(unknown)}`, known === '' ? 'this command has no fields' : `fields: ${known}`);
  }
  for (const [name, value] of Object.entries(object))
    if (!shape[name]!(value)) throw wrong(`${name}: ${show(value)} is not possible`);
  return object as Partial<FieldsOf<S>>;
}

/** The fields of a result, all of which are there; throws `ERR_TSVMM_CONFIG`. Others are of a newer version, and left out. */
export function readResult<S extends Shape>(shape: S, object: Readonly<Record<string, unknown>>): FieldsOf<S> {
  return Object.fromEntries(
    Object.entries(shape).map(([name, isOne]) => {
      const value = object[name];
      if (!Object.hasOwn(object, name) || !isOne(value)) throw wrong(`${name}: ${show(value)} is not possible`);
      return [name, value];
    }),
  ) as FieldsOf<S>;
}
