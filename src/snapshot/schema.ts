/**
 * Checks of JSON that somebody else wrote: small functions that are put together to the form that a value must have. Any
 * thread; pure.
 *
 * Each takes a value and where in the file it stands, and answers a value of its own making with the checked type, or
 * throws a `Mismatch` whose message begins with that place. What the form does not name is refused, so that nothing is read
 * that nobody checked.
 */
import { quote } from '../disk/range.js';

export type Check<T> = (value: unknown, at: string) => T;
export type Checked<C> = C extends Check<infer T> ? T : never;
export type JsonValue =
  | null
  | boolean
  | number
  | string
  | readonly JsonValue[]
  | { readonly [name: string]: JsonValue };

/** What is wrong with a value, as `memory.size: 5 is not ...`. */
export class Mismatch extends Error {}

/** A stranger's value in a message: never long, and without control characters. */
const show = (value: unknown): string =>
  value === undefined
    ? 'nothing'
    : Array.isArray(value)
      ? `a list of ${value.length}`
      : typeof value === 'object' && value !== null
        ? 'an object'
        : typeof value === 'string'
          ? quote(value.slice(0, 60))
          : String(value);

function refuse(at: string, text: string): never {
  throw new Mismatch(`${at}: ${text}`);
}

/** A whole number that a double holds exactly. */
export const integer =
  (least: number, most: number): Check<number> =>
  (value, at) => {
    if (typeof value === 'number' && Number.isSafeInteger(value) && value >= least && value <= most) return value + 0; // no -0
    return refuse(at, `${show(value)} is not a whole number from ${least} to ${most}`);
  };

/** Such a number, and a multiple of `unit`. */
export const multipleOf = (unit: number, least: number, most: number): Check<number> =>
  where(integer(least, most), `is not a multiple of ${unit}`, (value) => value % unit === 0);

/** Text that `pattern` matches from its first to its last character; `what` says so in words. */
export const text =
  (pattern: RegExp, what: string): Check<string> =>
  (value, at) =>
    typeof value === 'string' && pattern.test(value) ? value : refuse(at, `${show(value)} is not ${what}`);

export const boolean: Check<boolean> = (value, at) =>
  typeof value === 'boolean' ? value : refuse(at, `${show(value)} is neither true nor false`);

/** One of these values. */
export const oneOf =
  <const T extends string | number>(...values: readonly T[]): Check<T> =>
  (value, at) =>
    values.includes(value as T) ? (value as T) : refuse(at, `${show(value)} is not one of ${values.join(', ')}`);

/** What `check` takes and of which `holds` is true. */
export const where =
  <T>(check: Check<T>, says: string, holds: (value: T) => boolean): Check<T> =>
  (value, at) => {
    const checked = check(value, at);
    return holds(checked) ? checked : refuse(at, `${show(value)} ${says}`);
  };

export const list =
  <T>(of: Check<T>, most: number, least = 0): Check<readonly T[]> =>
  (value, at) => {
    if (!Array.isArray(value)) return refuse(at, `${show(value)} is not a list`);
    if (value.length < least || value.length > most)
      return refuse(at, `a list of ${value.length} where ${least} to ${most} are possible`);
    return value.map((element, index) => of(element, `${at}[${index}]`));
  };

declare const absent: unique symbol;
/** A field that may be left out. */
export interface Optional<T> {
  readonly optional: Check<T>;
  readonly [absent]?: true;
}
export const optional = <T>(check: Check<T>): Optional<T> => ({ optional: check });

type Field = Check<unknown> | Optional<unknown>;
type Fields = Readonly<Record<string, Field>>;
type Needed<F extends Fields> = { [K in keyof F]: F[K] extends Check<unknown> ? K : never }[keyof F];
export type ObjectOf<F extends Fields> = {
  readonly [K in Needed<F>]: F[K] extends Check<infer T> ? T : never;
} & { readonly [K in Exclude<keyof F, Needed<F>>]?: F[K] extends Optional<infer T> ? T : never };

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** An object with these fields and no other. */
export const object =
  <const F extends Fields>(fields: F): Check<ObjectOf<F>> =>
  (value, at) => {
    if (!isObject(value)) return refuse(at, `${show(value)} is not an object`);
    const stranger = Object.keys(value).find((name) => !Object.hasOwn(fields, name));
    if (stranger !== undefined) return refuse(at, `there is no field ${show(stranger)} here`);
    const checked: Record<string, unknown> = {};
    for (const [name, field] of Object.entries(fields)) {
      const inside = at === '' ? name : `${at}.${name}`;
      const given = Object.hasOwn(value, name) ? value[name] : undefined;
      if (typeof field === 'function') checked[name] = field(given, inside);
      else if (given !== undefined) checked[name] = field.optional(given, inside);
    }
    return checked as ObjectOf<F>;
  };

type Variants = Readonly<Record<string, Fields>>;
export type VariantOf<V extends Variants> = {
  [K in keyof V & string]: { readonly kind: K } & ObjectOf<V[K]>;
}[keyof V & string];

/** An object whose field `kind` says which other fields it has. */
export const variant =
  <const V extends Variants>(variants: V): Check<VariantOf<V>> =>
  (value, at) => {
    const kind = isObject(value) && Object.hasOwn(value, 'kind') ? value['kind'] : undefined;
    const known = oneOf(...Object.keys(variants))(kind, at === '' ? 'kind' : `${at}.kind`);
    return object({ ...variants[known]!, kind: oneOf(known) })(value, at) as unknown as VariantOf<V>;
  };

/** Any JSON: for what somebody else checks. Whoever parsed it bounded its size and depth. */
export const json: Check<JsonValue> = (value, at) =>
  value === undefined ? refuse(at, 'nothing is there') : (value as JsonValue);
