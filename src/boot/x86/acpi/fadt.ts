/**
 * The fixed hardware description and the FACS (ACPI 6.5 §5.2.9, §5.2.10). Main thread.
 *
 * The platform is a full ACPI one, not hardware-reduced: PM1 event and control registers, a PM timer and a fixed power
 * button, on SCI 9. There is no SMI command port, so a guest takes ACPI mode as already on (§4.8.2.5); PM1 control must
 * read with SCI_EN set. There are no general-purpose events.
 *
 * IAPC_BOOT_ARCH says that there are ISA devices (serial port, RTC) but no VGA, and leaves "8042" clear although ports
 * 0x60 and 0x64 answer: no keyboard is behind them, and with the bit set Linux looks for one by probing the ports, while
 * with it clear it does not touch them. Resetting through port 0x64 does not depend on the bit.
 */
import { acpiReset, gsi, ports, rtcCenturyRegister } from '../../../devices/memory-map.js';
import { setU64 } from '../../../host/u64.js';
import { newTable, seal, setAscii } from './table.js';

const FADT_SIZE = 276;
const REVISION = 6;
const MINOR_REVISION = 5;

const Fadt = {
  firmwareCtrl: 36,
  dsdt: 40,
  sciInt: 46,
  pm1aEvent: 56,
  pm1aControl: 64,
  pmTimer: 76,
  pm1EventLength: 88,
  pm1ControlLength: 89,
  pmTimerLength: 91,
  c2Latency: 96,
  c3Latency: 98,
  century: 108,
  bootArch: 109,
  flags: 112,
  resetRegister: 116,
  resetValue: 128,
  minorRevision: 131,
  xDsdt: 140,
  xPm1aEvent: 148,
  xPm1aControl: 172,
  xPmTimer: 208,
} as const;

const BootArch = { legacyDevices: 1 << 0, vgaNotPresent: 1 << 2 } as const;
/** PWR_BUTTON stays clear, which is how a fixed power button is announced; so does TMR_VAL_EXT: the timer has 24 bits. */
const Flags = {
  wbinvd: 1 << 0,
  procC1: 1 << 2,
  noFixedSleepButton: 1 << 5,
  noFixedRtcWake: 1 << 6,
  resetRegister: 1 << 10,
} as const;
/** "A value > 100 / > 1000 indicates the system does not support a C2 / C3 state." */
const NO_C2 = 101;
const NO_C3 = 1001;

/** Generic address structure, §5.2.3.2. */
const SPACE_SYSTEM_IO = 1;
const accessSize: Record<number, number> = { 8: 1, 16: 2, 32: 3 };

export function buildFadt(addresses: { dsdt: number; facs: number }): Uint8Array {
  const { bytes, view } = newTable('FACP', REVISION, FADT_SIZE);
  const gas = (at: number, port: number, bits: number, access: number): void => {
    view.setUint8(at, SPACE_SYSTEM_IO);
    view.setUint8(at + 1, bits);
    view.setUint8(at + 3, accessSize[access]!);
    setU64(view, at + 4, port);
  };
  view.setUint32(Fadt.firmwareCtrl, addresses.facs, true); // X_FIRMWARE_CTRL must then be zero
  view.setUint32(Fadt.dsdt, addresses.dsdt, true);
  setU64(view, Fadt.xDsdt, addresses.dsdt);
  view.setUint16(Fadt.sciInt, gsi.sci, true);

  view.setUint32(Fadt.pm1aEvent, ports.pm1Event.base, true);
  view.setUint8(Fadt.pm1EventLength, ports.pm1Event.size);
  gas(Fadt.xPm1aEvent, ports.pm1Event.base, ports.pm1Event.size * 8, 16);
  view.setUint32(Fadt.pm1aControl, ports.pm1Control.base, true);
  view.setUint8(Fadt.pm1ControlLength, ports.pm1Control.size);
  gas(Fadt.xPm1aControl, ports.pm1Control.base, ports.pm1Control.size * 8, 16);
  view.setUint32(Fadt.pmTimer, ports.pmTimer.base, true);
  view.setUint8(Fadt.pmTimerLength, ports.pmTimer.size);
  gas(Fadt.xPmTimer, ports.pmTimer.base, ports.pmTimer.size * 8, 32);

  view.setUint16(Fadt.c2Latency, NO_C2, true);
  view.setUint16(Fadt.c3Latency, NO_C3, true);
  view.setUint8(Fadt.century, rtcCenturyRegister);
  view.setUint16(Fadt.bootArch, BootArch.legacyDevices | BootArch.vgaNotPresent, true);
  const { wbinvd, procC1, noFixedSleepButton, noFixedRtcWake, resetRegister } = Flags;
  view.setUint32(Fadt.flags, wbinvd | procC1 | noFixedSleepButton | noFixedRtcWake | resetRegister, true);
  gas(Fadt.resetRegister, acpiReset.port, 8, 8);
  view.setUint8(Fadt.resetValue, acpiReset.value);
  view.setUint8(Fadt.minorRevision, MINOR_REVISION);
  return seal(bytes);
}

export const FACS_SIZE = 64;
/** "The FACS is a 64-byte aligned structure" (§5.2.10). */
export const FACS_ALIGN = 64;
const FACS_VERSION = 2;
const Facs = { signature: 0, length: 4, version: 32 } as const;

/** Waking vectors and the global lock; nothing of it is used, but it must be there. It has no checksum. */
export function buildFacs(): Uint8Array {
  const bytes = new Uint8Array(FACS_SIZE);
  setAscii(bytes, Facs.signature, 'FACS');
  bytes[Facs.length] = FACS_SIZE;
  bytes[Facs.version] = FACS_VERSION;
  return bytes;
}
