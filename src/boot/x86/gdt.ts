/**
 * The descriptor table vCPU 0 starts with. Main thread.
 *
 * Linux asks for flat segments at selectors 0x10 and 0x18 (boot protocol §1.15); PVH asks for flat 32-bit
 * segments and a task register with limit 0x67 (Xen docs/misc/pvh.pandoc), for which it
 * prescribes no selectors, so both use the same ones. The kernel loads a table of its own within a few instructions.
 */
export const bootSelectors = { code: 0x10, data: 0x18, task: 0x20 } as const;

/** Intel SDM vol. 3A §3.4.5, bits of a descriptor's high word. */
const present = 1 << 15;
const codeOrData = 1 << 12;
const readWriteAccessed = 0x3 << 8;
const executable = 1 << 11;
const long = 1 << 21;
const operand32 = 1 << 22;
const pageGranular = 1 << 23;
const flatLimitHigh = 0xf << 16;
const flatLimitLow = 0xffff;
const busyTss32 = 0xb << 8;
const tssLimit = 0x67;

const flat = present | codeOrData | readWriteAccessed | pageGranular | flatLimitHigh;

/** Two null descriptors, code, data, and the task segment with room for a 64-bit one's upper half. */
const ENTRIES = 6;
export const gdtLimit = ENTRIES * 8 - 1;

/** `long64`: the code segment is a 64-bit one; otherwise 32-bit. */
export function buildGdt(mode: 'long64' | 'pvh32'): Uint8Array {
  const table = new Uint32Array(ENTRIES * 2);
  const set = (selector: number, low: number, high: number): void => {
    table[selector / 4] = low;
    table[selector / 4 + 1] = high;
  };
  set(bootSelectors.code, flatLimitLow, flat | executable | (mode === 'long64' ? long : operand32));
  set(bootSelectors.data, flatLimitLow, flat | operand32);
  set(bootSelectors.task, tssLimit, present | busyTss32);
  return new Uint8Array(table.buffer);
}
