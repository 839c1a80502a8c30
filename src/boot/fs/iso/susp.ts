/**
 * The entries in the system use area of a directory record (System Use Sharing Protocol 1.12), continuation areas
 * included. Main thread.
 */
import { damaged, type ScanBudget } from '../damage.js';
import type { IsoVolume } from './volume.js';

/** Linux: RR_MAX_CE_ENTRIES. A chain that comes back to itself ends here as well. */
const maxContinuations = 32;
/** One continuation area. A name and a link of 4096 bytes need less than three sectors. */
const maxContinuationBytes = 16 * 1024;
/** Signature, length, version. */
const headerSize = 4;
const continuationSize = 28;

export interface SuspEntry {
  readonly signature: string;
  /** What follows the header. */
  readonly data: Buffer;
}

/** The entries of `area`, in order. */
export async function suspEntries(volume: IsoVolume, area: Buffer, budget: ScanBudget): Promise<SuspEntry[]> {
  const found: SuspEntry[] = [];
  let rest: Buffer | undefined = area;
  for (let count = 0; rest !== undefined; count++) {
    if (count > maxContinuations)
      throw damaged(`ISO 9660: more than ${maxContinuations} continuation areas (CE) of one record`);
    const next = collect(rest, found);
    rest = next === undefined ? undefined : await continuation(volume, next, budget);
  }
  return found;
}

/** Adds the entries of one area to `found`; returns the last `CE` among them. */
function collect(area: Buffer, found: SuspEntry[]): Buffer | undefined {
  let next: Buffer | undefined;
  for (let at = 0; at + headerSize <= area.length; ) {
    const length = area[at + 2]!;
    const signature = area.toString('latin1', at, at + 2);
    if (area[at] === 0) break; // padding
    if (length < headerSize || at + length > area.length)
      throw damaged(`ISO 9660: a system use entry ${JSON.stringify(signature)} of ${length} bytes`);
    const data = area.subarray(at + headerSize, at + length);
    if (signature === 'ST') break;
    if (signature === 'CE') next = data;
    else found.push({ signature, data });
    at += length;
  }
  return next;
}

/** SUSP §5.1: location in logical blocks, offset, length. */
async function continuation(volume: IsoVolume, data: Buffer, budget: ScanBudget): Promise<Buffer> {
  if (data.length < continuationSize - headerSize)
    throw damaged(`ISO 9660: a continuation entry (CE) of ${data.length + headerSize} bytes`);
  const block = data.readUInt32LE(0);
  const offset = data.readUInt32LE(8);
  const length = data.readUInt32LE(16);
  if (length > maxContinuationBytes) throw damaged(`ISO 9660: a continuation area (CE) of ${length} bytes`);
  budget.spend(length);
  return volume.read({ start: block * volume.blockSize + offset, length }, 'a continuation area');
}
