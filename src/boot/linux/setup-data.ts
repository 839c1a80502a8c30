/**
 * The setup_data chain of the zero page (boot protocol §1.3, "setup_data"; types in asm/setup_data.h). Main thread.
 */
import { viewOf } from '../x86/bytes.js';

const SETUP_RNG_SEED = 9;
const HEADER_SIZE = 16;
const TYPE_AT = 8;
const LENGTH_AT = 12;

/**
 * A chain of one: random bytes that credit the guest's generator before it has any device (Linux 6.0 and newer; older
 * kernels skip the type). The kernel wipes the bytes after use. The `next` pointer is zero.
 */
export function buildRngSeed(seed: Uint8Array): Uint8Array {
  const node = new Uint8Array(HEADER_SIZE + seed.length);
  const view = viewOf(node);
  view.setUint32(TYPE_AT, SETUP_RNG_SEED, true);
  view.setUint32(LENGTH_AT, seed.length, true);
  node.set(seed, HEADER_SIZE);
  return node;
}
