/**
 * What a virtio-pci device says of itself in configuration space: identity and capabilities (virtio 1.2 §4.1.2, §4.1.4;
 * PCI Local Bus 3.0 §6.8.2). Any thread; pure.
 */
import { CapabilityId } from '../../devices/pci/registers.js';
import type { CapabilitySpec, FunctionSpec } from '../../devices/pci/template.js';
import { type VirtioShape, vectorCount } from '../registers.js';
import { BarOffset, barLayout, doorbellStride } from './bar.js';
import { commonConfigSize } from './common-config.js';
import { MessageControl } from './msix.js';

const vendorId = 0x1af4;
/** Non-transitional: 0x1040 plus the device type, revision at least 1 (§4.1.2.1). */
const deviceIdBase = 0x1040;
const revision = 1;
const subsystemId = 0x1100;
const interruptPinA = 1;

/** PCI class, by virtio device type; it only helps people and old software, drivers match the device id. */
const classCodes: Readonly<Record<number, number>> = {
  1: 0x02_00_00, // network
  2: 0x01_00_00, // block: SCSI storage
  3: 0x07_80_00, // console: other communication
  4: 0x00_ff_00, // entropy: unclassified
};
const otherClass = 0x00_ff_00;

/** `cfg_type` of struct virtio_pci_cap. */
export const VirtioCapability = { common: 1, notify: 2, isr: 3, device: 4, pci: 5 } as const;

/** Offsets in struct virtio_pci_cap (§4.1.4) from the capability's start; the last two follow it. */
export const CapabilityField = {
  length: 2,
  type: 3,
  bar: 4,
  id: 5,
  offset: 8,
  structureLength: 12,
  notifyMultiplier: 16,
  /** pci_cfg_data. */
  data: 16,
} as const;
const capabilitySize = 16;

/** Where each capability is in `virtioFunction`'s list; a device without configuration has no `device`. */
export const capabilityOrder = { msix: 0, pci: 1, common: 2, isr: 3, notify: 4, device: 5 } as const;

/** `extra` is the 32-bit word after the structure, where the type has one. */
function virtioCapability(type: number, offset: number, length: number, extra?: number): CapabilitySpec {
  const size = capabilitySize + (extra === undefined ? 0 : 4);
  const body = new Uint8Array(size - 2);
  const view = new DataView(body.buffer);
  body[CapabilityField.length - 2] = size;
  body[CapabilityField.type - 2] = type;
  view.setUint32(CapabilityField.offset - 2, offset, true);
  view.setUint32(CapabilityField.structureLength - 2, length, true);
  if (extra !== undefined) view.setUint32(CapabilityField.notifyMultiplier - 2, extra, true);
  return { id: CapabilityId.vendor, body };
}

/** §4.1.4.9: a window onto the BAR whose place the driver chooses, so all but its header is writable. */
function pciAccessCapability(): CapabilitySpec {
  const capability = virtioCapability(VirtioCapability.pci, 0, 0, 0);
  const writable = new Uint8Array(capability.body.length);
  writable[CapabilityField.bar - 2] = 0xff;
  writable.fill(0xff, CapabilityField.offset - 2);
  return { ...capability, writable };
}

function msixCapability(shape: VirtioShape): CapabilitySpec {
  const body = new Uint8Array(10);
  const writable = new Uint8Array(10);
  const view = new DataView(body.buffer);
  view.setUint16(0, vectorCount(shape) - 1, true); // both structures are in BAR 0, which is what offset bits 0-2 say
  view.setUint32(2, barLayout(shape).table, true);
  view.setUint32(6, BarOffset.pending, true);
  new DataView(writable.buffer).setUint16(0, MessageControl.enabled | MessageControl.masked, true);
  return { id: CapabilityId.msix, body, writable };
}

/** The PCI function of a virtio device. */
export function virtioFunction(shape: VirtioShape): FunctionSpec {
  const doorbells = shape.queueSizes.length * doorbellStride;
  return {
    name: shape.name,
    vendorId,
    deviceId: deviceIdBase + shape.deviceType,
    subsystemVendorId: vendorId,
    subsystemId,
    revision,
    classCode: classCodes[shape.deviceType] ?? otherClass,
    interruptPin: interruptPinA,
    // Reading ISR status has a side effect, so the BAR is not prefetchable.
    bars: [{ index: 0, size: barLayout(shape).size, width: 64 }],
    capabilities: [
      msixCapability(shape),
      pciAccessCapability(),
      virtioCapability(VirtioCapability.common, BarOffset.common, commonConfigSize),
      virtioCapability(VirtioCapability.isr, BarOffset.isr, 1),
      virtioCapability(VirtioCapability.notify, BarOffset.doorbells, doorbells, doorbellStride),
      // A structure of length 0 makes Linux give up on the device.
      ...(shape.configSize === 0
        ? []
        : [virtioCapability(VirtioCapability.device, BarOffset.device, shape.configSize)]),
    ],
  };
}
