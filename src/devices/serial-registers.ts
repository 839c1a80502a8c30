/**
 * The 16550A UART: its registers, their bits, and where they live in machine state (PC16550D datasheet §8). Any thread.
 */
import { ByteRing, byteRingSize } from '../memory/byte-ring.js';
import { bytes, type RegistersOf, registerMap, u8, words } from '../memory/registers.js';
import { asBits, type Bits, bit, join } from './bits.js';

/** Register offsets. RBR and THR, IIR and FCR share an offset; with LCR bit 7 on, 0 and 1 are the divisor. */
export const SerialRegister = {
  /** R: receiver buffer; W: transmitter holding. */
  data: 0,
  interruptEnable: 1,
  /** R. */
  interruptId: 2,
  /** W. */
  fifoControl: 2,
  lineControl: 3,
  modemControl: 4,
  lineStatus: 5,
  modemStatus: 6,
  scratch: 7,
} as const;

export type Ier = Bits<'IER'>;
export const Ier = {
  receivedData: bit<'IER'>(0),
  transmitterEmpty: bit<'IER'>(1),
  lineStatus: bit<'IER'>(2),
  modemStatus: bit<'IER'>(3),
  all: asBits<'IER'>(0x0f),
} as const;

/** Values of IIR bits 0-3, in order of priority, and what bits 6-7 say when FIFOs are on (datasheet table 4). */
export const Iir = {
  lineStatus: 0x06,
  receivedData: 0x04,
  characterTimeout: 0x0c,
  transmitterEmpty: 0x02,
  modemStatus: 0x00,
  none: 0x01,
  fifosEnabled: 0xc0,
} as const;

export type Fcr = Bits<'FCR'>;
export const Fcr = {
  enable: bit<'FCR'>(0),
  clearReceive: bit<'FCR'>(1),
  clearTransmit: bit<'FCR'>(2),
} as const;
/** FCR bits 6-7: how many bytes make a "received data" interrupt. */
export const triggerLevels = [1, 4, 8, 14] as const;
export const triggerShift = 6;

export type Lcr = Bits<'LCR'>;
export const Lcr = { divisorLatch: bit<'LCR'>(7) } as const;

export type Mcr = Bits<'MCR'>;
export const Mcr = {
  dataTerminalReady: bit<'MCR'>(0),
  requestToSend: bit<'MCR'>(1),
  out1: bit<'MCR'>(2),
  out2: bit<'MCR'>(3),
  loopback: bit<'MCR'>(4),
  all: asBits<'MCR'>(0x1f),
} as const;

export type Lsr = Bits<'LSR'>;
export const Lsr = {
  dataReady: bit<'LSR'>(0),
  overrun: bit<'LSR'>(1),
  parity: bit<'LSR'>(2),
  framing: bit<'LSR'>(3),
  breakInterrupt: bit<'LSR'>(4),
  holdingEmpty: bit<'LSR'>(5),
  transmitterEmpty: bit<'LSR'>(6),
  /** Those that a read clears and that make a "line status" interrupt. */
  errors: asBits<'LSR'>(0x1e),
} as const;

export type Msr = Bits<'MSR'>;
export const Msr = {
  clearToSend: bit<'MSR'>(4),
  dataSetReady: bit<'MSR'>(5),
  ringIndicator: bit<'MSR'>(6),
  carrierDetect: bit<'MSR'>(7),
} as const;
/** A terminal is always there: CTS, DSR and DCD on. */
export const connected: Msr = join(Msr.clearToSend, Msr.dataSetReady, Msr.carrierDetect);

export const fifoSize = 16;

export const SerialMap = registerMap('serial', {
  divisorLow: u8,
  divisorHigh: u8,
  interruptEnable: u8,
  fifoControl: u8,
  lineControl: u8,
  modemControl: u8,
  /** MSR bits 0-3: inputs that changed since the last read. */
  modemDelta: u8,
  /** LSR bits 1-4. */
  lineErrors: u8,
  scratch: u8,
  /** The "transmitter holding register empty" interrupt is pending: cleared by reading it in IIR. */
  transmitterInterrupt: u8,
  /** Level last given to the interrupt line. */
  line: u8,
  /** The driver has raised RTS at least once, so that lowering it means something. */
  flowControlled: u8,
  receiveStart: u8,
  receiveCount: u8,
  receive: bytes(fifoSize),
  /** The transmitter waits for room in the output ring; crossed by Atomics, as main drains without the lock. */
  stalled: words(1),
  /** Main has input that did not fit into the input ring. */
  inputWanted: words(1),
  /** Output bytes lost because the ring was full, modulo 2^32. */
  dropped: words(1),
});

/** Plain data: posted to workers. */
export interface SerialLayout {
  readonly registers: number;
  readonly output: number;
  readonly outputCapacity: number;
  readonly input: number;
  readonly inputCapacity: number;
  /** With a full output ring the guest waits; otherwise bytes are dropped and counted. */
  readonly blockWhenFull: boolean;
  readonly end: number;
}

export interface SerialOptions {
  readonly outputCapacity?: number | undefined;
  readonly blockWhenFull?: boolean | undefined;
}

const defaultOutputCapacity = 64 * 1024;
const inputCapacity = 4 * 1024;

/** Places the port's state at `base` (8-aligned). */
export function layoutSerial(base: number, options: SerialOptions = {}): SerialLayout {
  const outputCapacity = options.outputCapacity ?? defaultOutputCapacity;
  const output = base + SerialMap.size;
  const input = output + byteRingSize(outputCapacity);
  return {
    registers: base,
    output,
    outputCapacity,
    input,
    inputCapacity,
    blockWhenFull: options.blockWhenFull ?? false,
    end: input + byteRingSize(inputCapacity),
  };
}

export interface SerialState {
  readonly registers: RegistersOf<typeof SerialMap>;
  /** Guest to host; the vCPUs, under the machine lock, are its one producer. */
  readonly output: ByteRing;
  /** Host to guest; main is its producer. */
  readonly input: ByteRing;
  readonly blockWhenFull: boolean;
}

export const bindSerial = (buffer: ArrayBufferLike, layout: SerialLayout): SerialState => ({
  registers: SerialMap.over(buffer, layout.registers),
  output: new ByteRing(buffer, layout.output, layout.outputCapacity),
  input: new ByteRing(buffer, layout.input, layout.inputCapacity),
  blockWhenFull: layout.blockWhenFull,
});
