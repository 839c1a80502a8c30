/** Guest RAM without a guest: pages that are all one value, and what a freeze makes of them. */
import { native } from '../../../../src/host/addon.js';
import { syscall } from '../../../../src/host/system.js';
import { GuestRam, type RamPiece } from '../../../../src/memory/ram.js';

export const page = 4096;
const rams: GuestRam[] = [];

/** Released by `releaseAll` at the latest. */
export function map(pages: number, pieces?: readonly RamPiece[]): GuestRam {
  const ram = GuestRam.map(pages * page, pieces === undefined ? {} : { pieces });
  rams.push(ram);
  return ram;
}

export function releaseAll(): void {
  for (const ram of rams.splice(0)) ram.release();
}

/** Page `at` becomes all `value`. */
export function write(ram: GuestRam, at: number, value: number): void {
  native().copyIn(ram.hostAddress + at * page, Buffer.alloc(page, value));
  ram.touch(ram.hostAddress + at * page, page);
}

export function content(ram: GuestRam): Buffer {
  const bytes = Buffer.alloc(ram.size);
  native().copyOut(ram.hostAddress, bytes);
  return bytes;
}

export function freeze(ram: GuestRam): readonly RamPiece[] {
  ram.beginFreeze();
  while (!ram.copyFreeze(3 * page));
  ram.endFreeze();
  return ram.pieces;
}

const fstat = 5;

/** Blocks of 512 bytes that the file takes. */
export function blocks(fd: number): number {
  const stat = new DataView(new ArrayBuffer(144));
  syscall(fstat, fd, stat);
  return Number(stat.getBigUint64(64, true));
}
