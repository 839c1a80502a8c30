/**
 * PCI configuration space: register offsets, bits, and where functions live in machine state (PCI Local Bus 3.0 §6). Any
 * thread.
 */
import { bytes, type RegistersOf, registerMap, u8, u32, words } from '../../memory/registers.js';
import { asBits, type Bits, bit, join } from '../bits.js';

/** Type 0 header, §6.1. */
export const PciRegister = {
  vendorId: 0x00,
  deviceId: 0x02,
  command: 0x04,
  status: 0x06,
  revision: 0x08,
  classCode: 0x09,
  cacheLineSize: 0x0c,
  latencyTimer: 0x0d,
  headerType: 0x0e,
  bars: 0x10,
  subsystemVendorId: 0x2c,
  subsystemId: 0x2e,
  capabilities: 0x34,
  interruptLine: 0x3c,
  interruptPin: 0x3d,
} as const;
export const barsEnd = 0x28;
/** Capabilities follow the header. */
export const headerSize = 0x40;
/** Without PCI Express there is nothing beyond; ECAM reads all ones there, so a driver finds no extended capability. */
export const configSize = 0x100;
export const maxBars = 6;

/** §6.2.2. */
export type Command = Bits<'PCI command'>;
export const Command = {
  memory: bit<'PCI command'>(1),
  busMaster: bit<'PCI command'>(2),
  parityErrors: bit<'PCI command'>(6),
  systemErrors: bit<'PCI command'>(8),
  interruptDisable: bit<'PCI command'>(10),
} as const;
/** The rest reads as zero: no I/O BARs, no special cycles. */
export const commandWritable: Command = join(...Object.values(Command));

/** §6.2.3. Bits 8 and 11 to 15 are errors, cleared by writing 1; nothing ever sets them here. */
export const Status = { interrupt: bit<'PCI status'>(3), capabilities: bit<'PCI status'>(4) } as const;

/** §6.2.5.1: bits 0-3 of a memory BAR. */
export const BarType = { memory64: 0x4, prefetchable: 0x8, mask: 0xf } as const;

export const CapabilityId = { vendor: 0x09, msix: 0x11 } as const;
/** PCI 3.0 §6.2.4: "unknown" or "no connection". */
export const noInterruptLine = 0xff;

/** One per machine. */
export const PciBusMap = registerMap('pci-bus', {
  /** Port 0xCF8. */
  configAddress: u32,
  /** Port 0xCF9. */
  resetControl: u8,
  /** Adds 1 whenever what the BARs decode changes: each vCPU's MMIO bus follows (bar-map.ts). */
  generation: words(1),
  /** The generation whose conflicts have been reported, so that one vCPU reports them. */
  reportedGeneration: words(1),
});
export type PciBusRegisters = RegistersOf<typeof PciBusMap>;

/** State of one half of a BAR since the BAR last took effect. */
export const BarHalf = {
  same: 0,
  written: 1,
  /** Holds all ones or another pattern that is no address: the driver is asking for the size. */
  sizing: 2,
} as const;

/** One per function. */
export const PciFunctionMap = registerMap('pci-function', {
  config: bytes(configSize),
  /** Per BAR register, a `BarHalf`. */
  barHalves: bytes(8),
  /** Per BAR, the address in effect: low word, high word. Not the same as the registers while a driver changes them. */
  barAddresses: words(2 * maxBars),
});
export type PciFunctionRegisters = RegistersOf<typeof PciFunctionMap>;

export const command = (registers: PciFunctionRegisters): Command =>
  asBits<'PCI command'>(registers.config[PciRegister.command]! | (registers.config[PciRegister.command + 1]! << 8));
