/**
 * The ISA devices of the machine and its power management: layout in machine state, construction, reset. The layout is
 * pure; construction is per vCPU worker.
 */
import type { Bus } from '../bus/bus.js';
import {
  AcpiPmMap,
  Pm1ControlBlock,
  Pm1EventBlock,
  PmTimer,
  resetAcpiPm,
  setTimer,
  timerTicks,
  updateSci,
} from './acpi-pm.js';
import type { Clocks } from './clocks.js';
import { DebugExit } from './debug-exit.js';
import { I8042Map, makeI8042, resetI8042, updateKeyboardLine } from './i8042.js';
import { type MemoryRegion, type PortRange, ports } from './memory-map.js';
import { PvPanic } from './pvpanic.js';
import { Rtc } from './rtc.js';
import { updateRtcLine } from './rtc-events.js';
import { resetRtc } from './rtc-host.js';
import { RtcMap } from './rtc-registers.js';
import { Serial } from './serial.js';
import { resetSerial, reviveSerial } from './serial-host.js';
import { bindSerial, layoutSerial, type SerialLayout, type SerialOptions } from './serial-registers.js';
import type { SetLine, Wires } from './wires.js';

export interface ChipsetOptions {
  readonly serial?: SerialOptions | undefined;
  /** The debug exit port exists; for tests. */
  readonly debugExit?: boolean | undefined;
}

/** Plain data: posted to workers. */
export interface ChipsetLayout {
  readonly serial: SerialLayout;
  readonly rtc: number;
  readonly i8042: number;
  readonly acpiPm: number;
  readonly debugExit: boolean;
  readonly end: number;
}

export function layoutChipset(options: ChipsetOptions, base: number): ChipsetLayout {
  const rtc = base;
  const i8042 = rtc + RtcMap.size;
  const acpiPm = i8042 + I8042Map.size;
  const serial = layoutSerial(acpiPm + AcpiPmMap.size, options.serial);
  return { serial, rtc, i8042, acpiPm, debugExit: options.debugExit ?? false, end: serial.end };
}

/** Puts the devices on `bus`. */
export function buildChipset(
  buffer: ArrayBufferLike,
  layout: ChipsetLayout,
  bus: Bus,
  wires: Wires,
  wakeMain: () => void,
  clocks: Clocks,
): void {
  const insert = (range: PortRange, device: Parameters<Bus['insert']>[2]): void =>
    bus.insert(range.base, range.size, device);
  const setLine: Wires['setLine'] = (gsi, level) => wires.setLine(gsi, level);

  insert(ports.serial, new Serial(bindSerial(buffer, layout.serial), { setLine, wakeMain }));
  insert(ports.rtc, new Rtc(RtcMap.over(buffer, layout.rtc), { setLine, wakeMain, now: clocks.now }));
  const keyboard = makeI8042(I8042Map.over(buffer, layout.i8042), wires);
  insert(ports.i8042Data, keyboard.data);
  insert(ports.i8042Command, keyboard.command);
  const pm = AcpiPmMap.over(buffer, layout.acpiPm);
  insert(ports.pm1Event, new Pm1EventBlock(pm, setLine));
  insert(ports.pm1Control, new Pm1ControlBlock(pm, wires));
  insert(ports.pmTimer, new PmTimer(pm, clocks.monotonicNs));
  insert(ports.pvpanic, new PvPanic(wires));
  if (layout.debugExit) insert(ports.debugExit, new DebugExit(wires));
}

/** Power-on values. `cpus` and `ram` are what CMOS says of the machine; `keepClock`: its battery held. */
export function resetChipset(
  buffer: ArrayBufferLike,
  layout: ChipsetLayout,
  cpus: number,
  ram: readonly MemoryRegion[],
  keepClock = false,
): void {
  resetSerial(buffer, layout.serial);
  resetRtc(buffer, layout.rtc, { cpus, ram, keep: keepClock });
  resetI8042(buffer, layout.i8042);
  resetAcpiPm(buffer, layout.acpiPm);
}

/** What is saved of a machine has the time that its timer showed, at host time `ns`, in the place of its offset. */
export function stampChipset(saved: ArrayBufferLike, layout: ChipsetLayout, ns: number): void {
  const pm = AcpiPmMap.over(saved, layout.acpiPm);
  pm.timerOffset = timerTicks(pm, ns);
}

/** The timer goes on at host time `now` from what it showed at `then`. */
export function keepTimer(buffer: ArrayBufferLike, layout: ChipsetLayout, then: number, now: number): void {
  const pm = AcpiPmMap.over(buffer, layout.acpiPm);
  setTimer(pm, now, timerTicks(pm, then), 0);
}

/** Saved registers are a machine's again: its timer goes on `elapsedNs` later, and KVM, which knows of no level, is told. */
export function reviveChipset(
  buffer: ArrayBufferLike,
  layout: ChipsetLayout,
  setLine: SetLine,
  time: { readonly ns: number; readonly elapsedNs: number },
): void {
  const pm = AcpiPmMap.over(buffer, layout.acpiPm);
  setTimer(pm, time.ns, pm.timerOffset, time.elapsedNs);
  pm.line = 0;
  updateSci(pm, setLine);
  const rtc = RtcMap.over(buffer, layout.rtc);
  rtc.line = 0;
  updateRtcLine(rtc, setLine);
  Atomics.store(rtc.attention, 0, 1); // a driver may be waiting for an interrupt that main brings
  const i8042 = I8042Map.over(buffer, layout.i8042);
  i8042.line = 0;
  updateKeyboardLine(i8042, setLine);
  reviveSerial(buffer, layout.serial, setLine);
}
