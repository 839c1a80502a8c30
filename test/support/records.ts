/** What the guest `records` writes (test/guests/records.c), and what a disk must hold after its host has lost its power. */
import { randomInt } from 'node:crypto';

const sectorBytes = 512;
const slotBytes = 8 * sectorBytes;
const scramble = 2654435761;
const lengths = 7;

/** Record n, whole. */
export function record(number: number): Buffer {
  const words = new Uint32Array(((1 + (number % lengths)) * sectorBytes) / 4);
  words.forEach((_, i) => {
    words[i] = Math.imul(number, scramble) + i;
  });
  words[0] = number;
  return Buffer.from(words.buffer);
}

function holds(disk: Buffer, number: number): boolean {
  const at = (number % (disk.length / slotBytes)) * slotBytes;
  const wanted = record(number);
  return disk.compare(wanted, 0, wanted.length, at, at + wanted.length) === 0;
}

export interface Found {
  /** The highest number of which the disk has the whole record; 0 for none. */
  readonly highest: number;
  /** Numbers of records that must be there and are not, or not as they were written. */
  readonly missing: readonly number[];
}

/**
 * Looks at a disk whose guest was told that all records up to `acknowledged` are safe; it may have been told of more. It
 * writes one record at a time, so everything before the highest that is there was safe as well, and only the slot after
 * the highest may hold anything: half of the next record over what was there.
 */
export function examine(disk: Buffer, acknowledged: number): Found {
  const slots = disk.length / slotBytes;
  let highest = 0;
  for (let slot = 0; slot < slots; slot++) {
    const number = disk.readUInt32LE(slot * slotBytes);
    if (number > highest && number % slots === slot && holds(disk, number)) highest = number;
  }
  const last = Math.max(highest, acknowledged);
  const missing: number[] = [];
  for (let number = Math.max(1, last - slots + 2); number <= last; number++)
    if (!holds(disk, number)) missing.push(number);
  return { highest, missing };
}

/** Bytes of a disk with so many slots. */
export const diskBytes = (slots: number): number => slots * slotBytes;

/** The last number that the guest has printed; 0 for none. A line counts when it is whole. */
export function lastRecord(output: string): number {
  const whole = output.slice(0, output.lastIndexOf('\n') + 1);
  return Number(/^record (\d+)\r?$/m.exec(whole.slice(whole.lastIndexOf('record ')))?.[1] ?? 0);
}

/** Draws numbers from `seed`, always the same ones. */
export function drawFrom(seed: number): (limit: number) => number {
  let state = seed >>> 0 || 1;
  return (limit) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % limit;
  };
}

/** The seed that was asked for, else one of this run. */
export const testSeed = Number(process.env['TSVMM_TEST_SEED'] ?? randomInt(1, 2 ** 31));
