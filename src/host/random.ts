/**
 * Random bytes and identifiers. Any thread. node:crypto takes 9 ms to load, so it is loaded when something random is needed.
 */
import { Sys, syscall } from './system.js';

const crypto = (): typeof import('node:crypto') => process.getBuiltinModule('node:crypto');

export const randomBytes = (count: number): Buffer => crypto().randomBytes(count);
export const randomUUID = (): string => crypto().randomUUID();

/** Few bytes of the kernel's (getrandom(2)), without node:crypto. */
export function entropy(count: number): Uint8Array {
  const bytes = new Uint8Array(count);
  syscall(Sys.getrandom, bytes, count, 0); // up to 256 bytes come whole, and it cannot fail once the kernel has booted
  return bytes;
}
