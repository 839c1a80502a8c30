/**
 * The host bridge, 00:00.0. vCPU worker.
 *
 * Its identity is Red Hat's generic host bridge (1b36:0008): a bridge with nothing but ECAM. A chipset's identity (an
 * i440FX's or Q35's) would invite drivers and quirks to poke registers that are not here: memory controllers, PAM and
 * SMRAM, EDAC. It has no BAR and no capability; drivers only look at its class.
 */
import type { FunctionBehaviour } from './function.js';
import type { FunctionSpec } from './template.js';

export const hostBridgeSlot = 0;

export const hostBridgeSpec: FunctionSpec = {
  name: 'host bridge',
  vendorId: 0x1b36,
  deviceId: 0x0008,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
  revision: 0,
  classCode: 0x06_00_00,
  interruptPin: 0,
  bars: [],
  capabilities: [],
};

export const hostBridge: FunctionBehaviour = {
  bars: [],
  interruptPending: () => false,
  commandChanged: () => {},
  capabilityRead: () => {},
  capabilityWritten: () => {},
  barsChanged: () => {},
};
