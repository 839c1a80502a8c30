/**
 * The host's end of the real-time clock: its interrupts, its power-on contents and its clock. Main thread.
 */
import { endOf, highRamStart, legacyAreaEnd, type MemoryRegion } from './memory-map.js';
import { advance, nextEvent, updateRtcLine } from './rtc-events.js';
import {
  Cmos,
  equipmentByte,
  RtcMap,
  RtcRegister,
  type RtcRegisters,
  registerAReset,
  registerBReset,
} from './rtc-registers.js';
import type { SetLine } from './wires.js';

/** A driver may ask for 8,192 interrupts a second; main gives it a hundred and stays responsive. */
const shortestWaitMs = 10;

export class RtcHost {
  readonly #registers: RtcRegisters;
  readonly #setLine: SetLine;
  readonly #now: () => number;

  constructor(buffer: ArrayBufferLike, base: number, setLine: SetLine, now: () => number = Date.now) {
    this.#registers = RtcMap.over(buffer, base);
    this.#setLine = setLine;
    this.#now = now;
  }

  /** The driver changed something that `service` has to see. No lock. */
  get unsettled(): boolean {
    return Atomics.load(this.#registers.attention, 0) !== 0;
  }

  /**
   * Raises what is due and says in how many milliseconds to come again; Infinity: when `unsettled`. The machine lock is
   * held.
   */
  service(): number {
    Atomics.store(this.#registers.attention, 0, 0);
    const now = this.#now();
    advance(this.#registers, now);
    updateRtcLine(this.#registers, this.#setLine);
    return Math.max(nextEvent(this.#registers, now), shortestWaitMs);
  }
}

export interface RtcContents {
  readonly cpus: number;
  readonly ram: readonly MemoryRegion[];
  /** The battery held: a reset, not the first power-on. CMOS RAM and the time that the guest set stay. */
  readonly keep?: boolean | undefined;
}

const KIB = 1024;
const unit = 64 * KIB;
const baseMemoryKib = 640;

function put(cmos: Uint8Array, at: number, value: number, size: number, largest: number): void {
  let rest = Math.min(Math.max(Math.floor(value), 0), largest);
  for (let i = 0; i < size; i++, rest = Math.floor(rest / 256)) cmos[at + i] = rest % 256;
}

/** Power-on contents: memory sizes as PC firmware writes them, time without an offset to the host's. */
export function resetRtc(buffer: ArrayBufferLike, base: number, contents: RtcContents): void {
  const registers = RtcMap.over(buffer, base);
  const { cmos } = registers;
  let low = 0;
  let high = 0;
  for (const region of contents.ram) {
    if (region.start >= highRamStart) high += region.size;
    else low = Math.max(low, endOf(region));
  }
  registers.index = 0;
  registers.line = 0;
  if (contents.keep !== true) {
    registers.offsetLow = 0;
    registers.offsetHigh = 0;
    cmos.fill(0);
  }
  registers.checkedLow = 0;
  registers.checkedHigh = 0;
  Atomics.store(registers.attention, 0, 0);
  cmos[RtcRegister.c] = 0;
  cmos[RtcRegister.a] = registerAReset;
  cmos[RtcRegister.b] = registerBReset;
  cmos[Cmos.equipment] = equipmentByte;
  put(cmos, Cmos.baseMemory, baseMemoryKib, 2, 0xffff);
  put(cmos, Cmos.extendedMemory, (low - legacyAreaEnd) / KIB, 2, 0xffff);
  put(cmos, Cmos.extendedMemoryAgain, (low - legacyAreaEnd) / KIB, 2, 0xffff);
  put(cmos, Cmos.memoryAbove16M, (low - 16 * legacyAreaEnd) / unit, 2, 0xffff);
  put(cmos, Cmos.memoryAbove4G, high / unit, 3, 0xff_ffff);
  put(cmos, Cmos.processors, contents.cpus - 1, 1, 0xff);
}
