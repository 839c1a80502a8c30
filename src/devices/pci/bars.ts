/**
 * Base address registers as a transaction: an address takes effect when it is complete (contract §6.4). vCPU worker,
 * machine lock.
 *
 * A driver writes a 64-bit BAR in two halves, and all ones into each to learn its size. Neither a half-new address nor a
 * size question may move the BAR, or it would land on top of another device for a moment (trap T21). So each half is
 * marked as written or sizing, and the address in effect changes when memory decode is on and both halves were written,
 * or when memory decode is turned on and no half is a size question.
 */
import { BarHalf, BarType, type PciFunctionRegisters, PciRegister } from './registers.js';
import type { BarSpec } from './template.js';

const two32 = 0x1_0000_0000;

/** The address in effect: where the BAR is while memory decode is on, and where it was last while it is off. */
export const barAddress = (registers: PciFunctionRegisters, index: number): number =>
  (registers.barAddresses[2 * index + 1]! >>> 0) * two32 + (registers.barAddresses[2 * index]! >>> 0);

const register32 = (config: Uint8Array, at: number): number =>
  (config[at]! | (config[at + 1]! << 8) | (config[at + 2]! << 16) | (config[at + 3]! << 24)) >>> 0;

/**
 * Notes a write to BAR register `register` (0 to 5). `raw` is the register as it would be if all of its bits were writable:
 * an address is aligned to the BAR's size, and what is not must be the question for the size.
 */
export function noteBarWrite(registers: PciFunctionRegisters, bar: BarSpec, register: number, raw: number): void {
  const isHigh = register !== bar.index;
  const aligned = isHigh || bar.size > 0xffff_ffff ? 1 : bar.size;
  const isAddress = raw !== 0xffff_ffff && (raw - (raw % 16)) % aligned === 0;
  registers.barHalves[register] = isAddress ? BarHalf.written : BarHalf.sizing;
}

/** After a write while memory decode is on; true if the BAR moved. */
export function commitIfWhole(registers: PciFunctionRegisters, bar: BarSpec): boolean {
  const { barHalves } = registers;
  const whole =
    barHalves[bar.index] === BarHalf.written && (bar.width === 32 || barHalves[bar.index + 1] === BarHalf.written);
  return whole && commit(registers, bar);
}

/** When memory decode is turned on; true if the BAR moved. */
export function commitOnDecode(registers: PciFunctionRegisters, bar: BarSpec): boolean {
  const { barHalves } = registers;
  const sizing =
    barHalves[bar.index] === BarHalf.sizing || (bar.width === 64 && barHalves[bar.index + 1] === BarHalf.sizing);
  return !sizing && commit(registers, bar);
}

function commit(registers: PciFunctionRegisters, bar: BarSpec): boolean {
  const { config, barHalves, barAddresses } = registers;
  const at = PciRegister.bars + 4 * bar.index;
  const low = register32(config, at) & ~BarType.mask;
  const high = bar.width === 64 ? register32(config, at + 4) | 0 : 0;
  barHalves[bar.index] = BarHalf.same;
  if (bar.width === 64) barHalves[bar.index + 1] = BarHalf.same;
  if (barAddresses[2 * bar.index] === low && barAddresses[2 * bar.index + 1] === high) return false;
  barAddresses[2 * bar.index] = low;
  barAddresses[2 * bar.index + 1] = high;
  return true;
}

/** Places a BAR at power-on. */
export function setBar(registers: PciFunctionRegisters, bar: BarSpec, address: number): void {
  const at = PciRegister.bars + 4 * bar.index;
  const view = new DataView(registers.config.buffer, registers.config.byteOffset, registers.config.byteLength);
  view.setUint32(at, ((address % two32) | (view.getUint32(at, true) & BarType.mask)) >>> 0, true);
  if (bar.width === 64) view.setUint32(at + 4, Math.floor(address / two32), true);
  commit(registers, bar);
}
