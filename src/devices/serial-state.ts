/**
 * What the 16550A's registers amount to: its receive FIFO, its transmitter and its interrupt line. vCPU workers, and main
 * for host input; both under the machine lock.
 *
 * Functions over the state, because two owners need them: the register device (serial.ts) and the host's end of the
 * cable (serial-host.ts).
 */
import { asBits, has } from './bits.js';
import { gsi } from './memory-map.js';
import {
  Fcr,
  fifoSize,
  Ier,
  Iir,
  Lsr,
  Mcr,
  type SerialState,
  triggerLevels,
  triggerShift,
} from './serial-registers.js';
import type { SetLine } from './wires.js';

export const fifosEnabled = ({ registers }: SerialState): boolean =>
  has(asBits<'FCR'>(registers.fifoControl), Fcr.enable);
export const isLoopback = ({ registers }: SerialState): boolean =>
  has(asBits<'MCR'>(registers.modemControl), Mcr.loopback);

/** A byte arrives. With no room the newest is lost and "overrun" says so; without FIFOs it replaces the one there. */
export function receive(state: SerialState, byte: number): void {
  const { registers } = state;
  const capacity = fifosEnabled(state) ? fifoSize : 1;
  if (registers.receiveCount >= capacity) {
    registers.lineErrors |= Lsr.overrun;
    if (capacity === 1) registers.receive[registers.receiveStart & (fifoSize - 1)] = byte;
    return;
  }
  registers.receive[(registers.receiveStart + registers.receiveCount) & (fifoSize - 1)] = byte;
  registers.receiveCount++;
}

/** The driver takes a byte; an empty receiver reads as 0. */
export function takeReceived(state: SerialState): number {
  const { registers } = state;
  if (registers.receiveCount === 0) return 0;
  const byte = registers.receive[registers.receiveStart & (fifoSize - 1)]!;
  registers.receiveStart = (registers.receiveStart + 1) & (fifoSize - 1);
  registers.receiveCount--;
  return byte;
}

export function clearReceived(state: SerialState): void {
  state.registers.receiveStart = 0;
  state.registers.receiveCount = 0;
}

/**
 * Moves host input into the receiver as far as there is room. RTS is honoured once the driver has used it: a closed port
 * (Linux lowers RTS) keeps its input for the next one who opens it. Drivers that never touch MCR get input all the same.
 */
export function fillReceiver(state: SerialState): void {
  const { registers, input } = state;
  const mcr = asBits<'MCR'>(registers.modemControl);
  if (has(mcr, Mcr.loopback)) return; // the receiver's input is the transmitter's output
  if (registers.flowControlled !== 0 && !has(mcr, Mcr.requestToSend)) return;
  const capacity = fifosEnabled(state) ? fifoSize : 1;
  while (registers.receiveCount < capacity) {
    const byte = input.shift();
    if (byte < 0) return;
    receive(state, byte);
  }
}

/** The transmitter takes bytes: always, unless the host reads too slowly and the guest is to wait for it. */
export const transmitterReady = (state: SerialState): boolean =>
  !state.blockWhenFull || isLoopback(state) || state.output.space >= fifoSize;

/**
 * "Transmitter empty" after a byte: at once, as there is no baud rate. A blocked transmitter says so first and looks
 * again, so that main, which drains first and looks at `stalled` after, cannot be missed.
 */
export function transmitted(state: SerialState): void {
  const { registers } = state;
  registers.transmitterInterrupt = 0;
  if (!transmitterReady(state)) {
    Atomics.store(registers.stalled, 0, 1);
    if (!transmitterReady(state)) return;
    Atomics.store(registers.stalled, 0, 0);
  }
  registers.transmitterInterrupt = 1;
}

/** A transmitter that waited for the host, or for loopback to end, goes on if it can. */
export function resumeTransmitter(state: SerialState): void {
  const { stalled } = state.registers;
  if (Atomics.load(stalled, 0) === 0 || !transmitterReady(state)) return;
  Atomics.store(stalled, 0, 0);
  transmitted(state);
}

/** IIR bits 0-3: the pending interrupt of highest priority (datasheet table 4). */
export function pendingInterrupt(state: SerialState): number {
  const { registers } = state;
  const ier = asBits<'IER'>(registers.interruptEnable);
  if (has(ier, Ier.lineStatus) && registers.lineErrors !== 0) return Iir.lineStatus;
  if (has(ier, Ier.receivedData) && registers.receiveCount > 0) {
    if (!fifosEnabled(state)) return Iir.receivedData;
    const trigger = triggerLevels[registers.fifoControl >>> triggerShift] ?? 1;
    // Below the trigger level a 16550A waits four character times. There is no baud rate, so the wait is over.
    return registers.receiveCount >= trigger ? Iir.receivedData : Iir.characterTimeout;
  }
  if (has(ier, Ier.transmitterEmpty) && registers.transmitterInterrupt !== 0) return Iir.transmitterEmpty;
  if (has(ier, Ier.modemStatus) && registers.modemDelta !== 0) return Iir.modemStatus;
  return Iir.none;
}

/** Gives the line the level that the registers ask for. OUT2 does not gate it, as in other virtual machines. */
export function updateLine(state: SerialState, setLine: SetLine): void {
  const level = pendingInterrupt(state) === Iir.none ? 0 : 1;
  if (level === state.registers.line) return;
  state.registers.line = level;
  setLine(gsi.serial, level);
}
