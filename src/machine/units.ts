/** Sizes and durations as people write them: '512M', '30s'. Any thread. */
import { TsvmmError } from '../errors.js';

/** Bytes, or a whole number with K, M, G or T (1024-based). */
export type Size = number | `${number}${'K' | 'M' | 'G' | 'T'}`;
/** Milliseconds, or a number with a unit. */
export type Duration = number | `${number}${'ms' | 's' | 'm'}`;

/** A stranger's value in a message: JSON where it can be, and never long. */
export function show(value: unknown): string {
  let text: string | undefined;
  try {
    text = JSON.stringify(value);
  } catch {
    // cyclic, or a BigInt: its type says enough
  }
  return (text ?? typeof value).slice(0, 80);
}

const sizeUnits: Record<string, number> = { '': 1, K: 1024, M: 1024 ** 2, G: 1024 ** 3, T: 1024 ** 4 };
const durationUnits: Record<string, number> = { ms: 1, s: 1000, m: 60_000 };
/** A timer of Node's with a longer delay fires at once. */
const longestTimerMs = 2 ** 31 - 1;

/** Bytes; throws `ERR_TSVMM_CONFIG` naming `what` when it is no size. */
export function parseSize(what: string, size: unknown): number {
  const match = typeof size === 'string' ? /^(\d+(?:\.\d+)?)\s*([KMGT]?)(?:i?B)?$/i.exec(size.trim()) : null;
  const bytes =
    typeof size === 'number'
      ? size
      : match === null
        ? Number.NaN
        : Number(match[1]) * sizeUnits[match[2]!.toUpperCase()]!;
  if (Number.isSafeInteger(bytes) && bytes >= 0) return bytes;
  throw new TsvmmError('ERR_TSVMM_CONFIG', `${what}: ${show(size)} is not a size`, {
    hint: 'write bytes as a number, or a number with K, M, G or T, such as "512M"',
  });
}

/** Milliseconds; throws `ERR_TSVMM_CONFIG` naming `what` when it is no duration. */
export function parseDuration(what: string, duration: unknown): number {
  const match = typeof duration === 'string' ? /^(\d+(?:\.\d+)?)\s*(ms|s|m)$/.exec(duration.trim()) : null;
  const ms =
    typeof duration === 'number'
      ? duration
      : match === null
        ? Number.NaN
        : Number(match[1]) * durationUnits[match[2]!]!;
  if (Number.isFinite(ms) && ms >= 0) return Math.min(ms, longestTimerMs);
  throw new TsvmmError('ERR_TSVMM_CONFIG', `${what}: ${show(duration)} is not a duration`, {
    hint: 'write milliseconds as a number, or a number with ms, s or m, such as "30s"',
  });
}

const units: readonly [string, number][] = [
  ['T', 1024 ** 4],
  ['G', 1024 ** 3],
  ['M', 1024 ** 2],
  ['K', 1024],
];

/** "1.5G": a size for messages. */
export function formatSize(bytes: number): string {
  const unit = units.find(([, factor]) => bytes >= factor);
  if (unit === undefined) return `${bytes} bytes`;
  const value = bytes / unit[1];
  return `${Number.isInteger(value) ? value : value.toFixed(1)}${unit[0]}`;
}
