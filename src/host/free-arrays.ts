/**
 * Gives the memory of typed arrays back at once, which V8 does when it collects: in a thread that makes no garbage, after
 * hundreds of machines. Any thread.
 */
import { native } from './addon.js';

/** V8 keeps what is shorter inside the array itself. */
const inside = 64;

/** They are empty from now on. Each is the only one over its buffer. */
export function freeArrays(...arrays: readonly ArrayBufferView[]): void {
  for (const array of arrays) if (array.byteLength > inside) native().detach(array.buffer as ArrayBuffer);
}
