/**
 * Bits that belong to one register and do not compile with another's. Any thread.
 *
 * `has(lcr, Fcr.clearReceive)` is a type error; with plain numbers it is a bug that other monitors have shipped.
 */
declare const register: unique symbol;
export type Bits<R extends string> = number & { readonly [register]: R };

/** Bit `n` of register R; 31 included, as every result is unsigned. */
export const bit = <R extends string>(n: number): Bits<R> => ((1 << n) >>> 0) as Bits<R>;
/** Takes a number for the value of register R: where it is loaded from machine state or comes from the guest. */
export const asBits = <R extends string>(value: number): Bits<R> => value as Bits<R>;
/** Any of `flags` is on in `value`. */
export const has = <R extends string>(value: Bits<R>, flags: Bits<R>): boolean => (value & flags) !== 0;
/** Both sets together. */
export const join = <R extends string>(...flags: readonly Bits<R>[]): Bits<R> =>
  flags.reduce<number>((all, flag) => (all | flag) >>> 0, 0) as Bits<R>;
