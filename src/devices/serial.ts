/**
 * The 16550A's registers as the driver sees them, at 0x3F8 (PC16550D datasheet §8). vCPU worker, machine lock.
 *
 * Every byte is sent the moment it is written; the baud rate is kept and means nothing. Bytes go to a ring that main
 * drains; where that ring is full, either the guest waits (THRE stays off) or the byte is dropped and counted.
 */
import { asBits, has } from './bits.js';
import { ByteDevice } from './byte-device.js';
import { connected, Fcr, Ier, Iir, Lcr, Lsr, Mcr, Msr, SerialRegister, type SerialState } from './serial-registers.js';
import {
  clearReceived,
  fifosEnabled,
  fillReceiver,
  isLoopback,
  pendingInterrupt,
  receive,
  resumeTransmitter,
  takeReceived,
  transmitted,
  transmitterReady,
  updateLine,
} from './serial-state.js';
import type { SetLine } from './wires.js';

export interface SerialWires {
  readonly setLine: SetLine;
  /** The host has output to read or room for input. */
  readonly wakeMain: () => void;
}

export class Serial extends ByteDevice {
  readonly name = 'serial';
  readonly #state: SerialState;
  readonly #wires: SerialWires;

  constructor(state: SerialState, wires: SerialWires) {
    super();
    this.#state = state;
    this.#wires = wires;
  }

  override readByte(offset: number): number {
    const { registers } = this.#state;
    switch (offset) {
      case SerialRegister.data:
        return this.#divisorSelected ? registers.divisorLow : this.#readData();
      case SerialRegister.interruptEnable:
        return this.#divisorSelected ? registers.divisorHigh : registers.interruptEnable;
      case SerialRegister.interruptId:
        return this.#readInterruptId();
      case SerialRegister.lineControl:
        return registers.lineControl;
      case SerialRegister.modemControl:
        return registers.modemControl;
      case SerialRegister.lineStatus:
        return this.#readLineStatus();
      case SerialRegister.modemStatus:
        return this.#readModemStatus();
      case SerialRegister.scratch:
        return registers.scratch;
      default:
        return 0xff;
    }
  }

  override writeByte(offset: number, value: number): void {
    const { registers } = this.#state;
    switch (offset) {
      case SerialRegister.data:
        if (this.#divisorSelected) registers.divisorLow = value;
        else this.#writeData(value);
        break;
      case SerialRegister.interruptEnable:
        if (this.#divisorSelected) registers.divisorHigh = value;
        else this.#writeInterruptEnable(value);
        break;
      case SerialRegister.fifoControl:
        this.#writeFifoControl(asBits<'FCR'>(value));
        break;
      case SerialRegister.lineControl:
        registers.lineControl = value;
        break;
      case SerialRegister.modemControl:
        this.#writeModemControl(asBits<'MCR'>(value & Mcr.all));
        break;
      case SerialRegister.scratch:
        registers.scratch = value;
        break;
      default: // LSR and MSR are read-only
    }
  }

  get #divisorSelected(): boolean {
    return has(asBits<'LCR'>(this.#state.registers.lineControl), Lcr.divisorLatch);
  }

  #readData(): number {
    const byte = takeReceived(this.#state);
    this.#refill();
    return byte;
  }

  #writeData(byte: number): void {
    const { registers, output } = this.#state;
    if (isLoopback(this.#state)) receive(this.#state, byte);
    else {
      if (!output.push(byte)) Atomics.add(registers.dropped, 0, 1);
      this.#wires.wakeMain();
    }
    transmitted(this.#state);
    this.#update();
  }

  /** Enabling the transmitter interrupt while the transmitter is empty raises it: drivers start sending this way. */
  #writeInterruptEnable(value: number): void {
    const { registers } = this.#state;
    const before = registers.interruptEnable;
    registers.interruptEnable = value & Ier.all;
    const turned = asBits<'IER'>(before ^ value);
    if (has(turned, Ier.transmitterEmpty)) {
      if (has(asBits<'IER'>(value), Ier.transmitterEmpty)) transmitted(this.#state);
      else registers.transmitterInterrupt = 0;
    }
    this.#update();
  }

  /** Reading it acknowledges the transmitter interrupt, if that is the one it reports. */
  #readInterruptId(): number {
    const pending = pendingInterrupt(this.#state);
    if (pending === Iir.transmitterEmpty) {
      this.#state.registers.transmitterInterrupt = 0;
      this.#update();
    }
    return fifosEnabled(this.#state) ? pending | Iir.fifosEnabled : pending;
  }

  /** The other bits are not written unless bit 0 is on (datasheet §8.4). The transmit FIFO is always empty. */
  #writeFifoControl(value: Fcr): void {
    const { registers } = this.#state;
    const on = has(value, Fcr.enable);
    if (on !== fifosEnabled(this.#state) || (on && has(value, Fcr.clearReceive))) clearReceived(this.#state);
    registers.fifoControl = on ? value & ~(Fcr.clearReceive | Fcr.clearTransmit) : 0;
    this.#refill();
  }

  #writeModemControl(value: Mcr): void {
    const { registers } = this.#state;
    const before = this.#modemInputs();
    registers.modemControl = value;
    if (!has(value, Mcr.loopback) && has(value, Mcr.requestToSend)) registers.flowControlled = 1;
    this.#noteModemChange(before, this.#modemInputs());
    resumeTransmitter(this.#state); // in loopback it does not wait for the host
    this.#refill();
  }

  #readLineStatus(): number {
    const { registers } = this.#state;
    let value: number = registers.lineErrors;
    if (registers.receiveCount > 0) value |= Lsr.dataReady;
    if (transmitterReady(this.#state)) value |= Lsr.holdingEmpty | Lsr.transmitterEmpty;
    if (registers.lineErrors !== 0) {
      registers.lineErrors = 0;
      this.#update();
    }
    return value;
  }

  #readModemStatus(): number {
    const { registers } = this.#state;
    const value = this.#modemInputs() | registers.modemDelta;
    if (registers.modemDelta !== 0) {
      registers.modemDelta = 0;
      this.#update();
    }
    return value;
  }

  /** MSR bits 4-7; in loopback they are the modem control outputs (datasheet §8.6). */
  #modemInputs(): number {
    if (!isLoopback(this.#state)) return connected;
    const mcr = asBits<'MCR'>(this.#state.registers.modemControl);
    let inputs = 0;
    if (has(mcr, Mcr.requestToSend)) inputs |= Msr.clearToSend;
    if (has(mcr, Mcr.dataTerminalReady)) inputs |= Msr.dataSetReady;
    if (has(mcr, Mcr.out1)) inputs |= Msr.ringIndicator;
    if (has(mcr, Mcr.out2)) inputs |= Msr.carrierDetect;
    return inputs;
  }

  /** Bits 0-3 note changes of bits 4-7; "ring" only its trailing edge. */
  #noteModemChange(before: number, after: number): void {
    let changed = before ^ after;
    if ((after & Msr.ringIndicator) !== 0) changed &= ~Msr.ringIndicator;
    this.#state.registers.modemDelta |= changed >>> 4;
  }

  /** After anything that may have made room in the receiver. */
  #refill(): void {
    const { registers, input } = this.#state;
    fillReceiver(this.#state);
    this.#update();
    if (Atomics.load(registers.inputWanted, 0) === 0 || input.space < input.capacity / 2) return;
    if (Atomics.exchange(registers.inputWanted, 0, 0) === 1) this.#wires.wakeMain();
  }

  #update(): void {
    updateLine(this.#state, this.#wires.setLine);
  }
}
