/**
 * The PCI Express host bridge in AML: windows, interrupt routing, and who controls PCI Express features (ACPI 6.5 §6.2.11
 * _OSC, §6.2.13 _PRT; PCI firmware spec §4). Main thread.
 */
import {
  bar32Window,
  type MemoryRegion,
  pciBuses,
  pciIntxGsi,
  pciPins,
  pciSlots,
  ports,
} from '../../../devices/memory-map.js';
import { integer, namePath, packageOf, packageOfCount, writeInteger } from '../aml/data.js';
import { eisaId, uuid } from '../aml/ids.js';
import { dwordMemory, io, qwordMemory, resourceTemplate, wordBusNumber, wordIo } from '../aml/resources.js';
import * as aml from '../aml/terms.js';
import type { Aml } from '../aml/writer.js';

const IO_SPACE = 0x1_0000;
/** Any function of a slot, in _PRT's address form. */
const ANY_FUNCTION = 0xffff;

export const pciHostBridge = (bar64: MemoryRegion | undefined): Aml =>
  aml.device(
    'PCI0',
    aml.name('_HID', eisaId('PNP0A08')),
    aml.name('_CID', eisaId('PNP0A03')),
    aml.name('_UID', integer(0)),
    aml.name('_SEG', integer(0)),
    aml.name('_BBN', integer(0)),
    aml.name('_CRS', windows(bar64)),
    aml.name('_PRT', interruptRouting()),
    operatingSystemCapabilities(),
  );

/** The configuration ports are the bridge's own; the rest of I/O space and the BAR windows it passes on. */
function windows(bar64: MemoryRegion | undefined): Aml {
  const config = { base: ports.pciConfigAddress.base, size: ports.pciConfigAddress.size + ports.pciConfigData.size };
  const afterConfig = config.base + config.size;
  return resourceTemplate(
    wordBusNumber(0, pciBuses),
    io(config),
    wordIo(0, config.base),
    wordIo(afterConfig, IO_SPACE - afterConfig),
    dwordMemory(bar32Window),
    ...(bar64 === undefined ? [] : [qwordMemory(bar64)]),
  );
}

/**
 * Slots are wired to GSIs directly, without interrupt link devices, which is "source" zero. A guest then programs them as
 * level and active low; KVM ignores the polarity.
 */
function interruptRouting(): Aml {
  const routes: Aml[] = [];
  for (let slot = 0; slot < pciSlots; slot++) {
    for (let pin = 0; pin < pciPins; pin++) routes.push(packageOfCount(4, route(slot, pin)));
  }
  return packageOf(...routes);
}

/** Address, pin, source and GSI, in one term: there are 128 of them. */
const route =
  (slot: number, pin: number): Aml =>
  (out) => {
    writeInteger(out, slot * 0x1_0000 + ANY_FUNCTION);
    writeInteger(out, pin);
    writeInteger(out, 0);
    writeInteger(out, pciIntxGsi(slot, pin));
  };

const PCI_HOST_UUID = '33DB4D5B-1FF7-401C-9657-7441C03DD766';
const OSC_REVISION = 1;
/** Bits of the first capability word, as results. */
const OscError = { unknownUuid: 0x04, unknownRevision: 0x08, capabilitiesMasked: 0x10 } as const;
/** Native hot-plug, SHPC, PME, AER, capability structure, LTR: nothing that firmware would want to keep. */
const GRANTED = 0x3f;

/** The guest asks in three words which PCI Express features it may control; it gets what we know of. */
function operatingSystemCapabilities(): Aml {
  const [status, control] = [namePath('CDW1'), namePath('CDW3')];
  const granted = aml.local(0);
  return aml.method(
    '_OSC',
    4,
    aml.createDWordField(aml.arg(3), 0, 'CDW1'),
    aml.ifThen(
      aml.equal(aml.arg(0), uuid(PCI_HOST_UUID)),
      aml.createDWordField(aml.arg(3), 8, 'CDW3'),
      aml.and(control, integer(GRANTED), granted),
      aml.ifThen(
        aml.notEqual(aml.arg(1), integer(OSC_REVISION)),
        aml.or(status, integer(OscError.unknownRevision), status),
      ),
      aml.ifThen(aml.notEqual(granted, control), aml.or(status, integer(OscError.capabilitiesMasked), status)),
      aml.store(granted, control),
    ),
    aml.elseThen(aml.or(status, integer(OscError.unknownUuid), status)),
    aml.returnValue(aml.arg(3)),
  );
}
