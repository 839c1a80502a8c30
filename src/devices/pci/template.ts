/**
 * What a PCI function is: its power-on configuration space and which of its bits a driver may write (PCI Local Bus 3.0
 * §6.1, §6.7). Any thread; pure.
 *
 * Everything that is not marked writable keeps its power-on value, so no write can make a capability loop or invent a BAR
 * (trap T21).
 */
import {
  BarType,
  barsEnd,
  commandWritable,
  configSize,
  headerSize,
  maxBars,
  noInterruptLine,
  PciRegister,
  Status,
} from './registers.js';

export interface BarSpec {
  /** BAR register, 0 to 5; a 64-bit BAR takes the next one too. */
  readonly index: number;
  /** Bytes: a power of two of at least 4 KiB, so that no two BARs share a page. */
  readonly size: number;
  readonly width: 32 | 64;
  readonly prefetchable?: boolean | undefined;
}

export interface CapabilitySpec {
  readonly id: number;
  /** What follows id and next pointer. */
  readonly body: Uint8Array;
  /** Which bits of `body` a driver may write; absent for none. */
  readonly writable?: Uint8Array | undefined;
}

export interface FunctionSpec {
  /** For messages. */
  readonly name: string;
  readonly vendorId: number;
  readonly deviceId: number;
  readonly subsystemVendorId: number;
  readonly subsystemId: number;
  readonly revision: number;
  /** Class, subclass, programming interface: 24 bits. */
  readonly classCode: number;
  /** 0 for none, 1 for INTA#. */
  readonly interruptPin: number;
  readonly bars: readonly BarSpec[];
  readonly capabilities: readonly CapabilitySpec[];
}

export interface ConfigTemplate {
  readonly spec: FunctionSpec;
  readonly initial: Uint8Array;
  /** Bits that a write changes. */
  readonly writable: Uint8Array;
  /** Offset of each capability, in the order of the specification. */
  readonly capabilities: readonly number[];
}

const smallestBar = 4096;

export function configTemplate(spec: FunctionSpec): ConfigTemplate {
  const initial = new Uint8Array(configSize);
  const writable = new Uint8Array(configSize);
  const view = new DataView(initial.buffer);
  const mask = new DataView(writable.buffer);

  view.setUint16(PciRegister.vendorId, spec.vendorId, true);
  view.setUint16(PciRegister.deviceId, spec.deviceId, true);
  view.setUint32(PciRegister.revision, spec.revision | (spec.classCode << 8), true);
  view.setUint16(PciRegister.subsystemVendorId, spec.subsystemVendorId, true);
  view.setUint16(PciRegister.subsystemId, spec.subsystemId, true);
  mask.setUint16(PciRegister.command, commandWritable, true);
  mask.setUint8(PciRegister.cacheLineSize, 0xff);
  mask.setUint8(PciRegister.latencyTimer, 0xff);
  if (spec.interruptPin !== 0) {
    view.setUint8(PciRegister.interruptPin, spec.interruptPin);
    view.setUint8(PciRegister.interruptLine, noInterruptLine);
    mask.setUint8(PciRegister.interruptLine, 0xff);
  }
  for (const bar of spec.bars) addBar(spec.name, bar, view, mask);
  return { spec, initial, writable, capabilities: addCapabilities(spec, initial, writable) };
}

/** The address bits above the size are writable; reading them back after writing ones tells the size (§6.2.5.1). */
function addBar(name: string, bar: BarSpec, view: DataView, mask: DataView): void {
  const at = PciRegister.bars + 4 * bar.index;
  const end = at + bar.width / 8;
  if (bar.index < 0 || bar.index >= maxBars || end > barsEnd) throw new RangeError(`${name}: no BAR ${bar.index}`);
  if (!(bar.size >= smallestBar && Number.isInteger(Math.log2(bar.size)) && bar.size <= 2 ** (bar.width - 1))) {
    throw new RangeError(`${name}: BAR ${bar.index} of ${bar.size} bytes`);
  }
  if (mask.getUint32(at, true) !== 0) throw new RangeError(`${name}: BAR ${bar.index} twice`);
  const type = (bar.width === 64 ? BarType.memory64 : 0) | (bar.prefetchable === true ? BarType.prefetchable : 0);
  view.setUint32(at, type, true);
  mask.setUint32(at, bar.size > 0xffff_ffff ? 0 : -bar.size >>> 0, true);
  if (bar.width === 64) {
    mask.setUint32(at + 4, bar.size > 0xffff_ffff ? -(bar.size / 0x1_0000_0000) >>> 0 : 0xffff_ffff, true);
  }
}

function addCapabilities(spec: FunctionSpec, initial: Uint8Array, writable: Uint8Array): number[] {
  let link: number = PciRegister.capabilities;
  let at = headerSize;
  const offsets: number[] = [];
  for (const { id, body, writable: bits } of spec.capabilities) {
    const end = at + 2 + body.length;
    if (end > configSize) throw new RangeError(`${spec.name}: capabilities exceed configuration space`);
    initial[link] = at;
    initial[at] = id;
    initial.set(body, at + 2);
    if (bits !== undefined) writable.set(bits.subarray(0, body.length), at + 2);
    offsets.push(at);
    link = at + 1;
    at = Math.ceil(end / 4) * 4;
  }
  if (offsets.length > 0) initial[PciRegister.status] = initial[PciRegister.status]! | Status.capabilities;
  return offsets;
}
