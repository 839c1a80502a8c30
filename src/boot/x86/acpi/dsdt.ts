/**
 * The DSDT: what cannot be found by probing, in AML (ACPI 6.5 §5.2.11.1). Main thread.
 *
 * Processors, the ISA devices with their ports and interrupts, the PCI host bridge (pci-host.ts) or the virtio-mmio devices,
 * the ranges that belong to nobody else, the generation identifier and the sleep state S5. A keyboard is not announced, as there is none (see fadt.ts).
 */
import {
  acpiSleepTypeS5,
  ecam,
  gsi,
  type MemoryRegion,
  ports,
  type Transport,
  virtioMmioPlace,
} from '../../../devices/memory-map.js';
import { integer, packageOf, string } from '../aml/data.js';
import { eisaId } from '../aml/ids.js';
import { interrupt, io, irq, memory32Fixed, resourceTemplate } from '../aml/resources.js';
import { device, name, scope } from '../aml/terms.js';
import { type Aml, encode } from '../aml/writer.js';
import { pciHostBridge } from './pci-host.js';
import { HEADER_SIZE, newTable, seal } from './table.js';
import { generationDevice, genericEvents } from './vmgenid.js';

/** From revision 2 on integers are 64 bits wide. */
const REVISION = 2;

/** §6.3.7: present, enabled, shown, functioning. */
const PRESENT = 0x0f;

export interface DsdtConfig {
  readonly processors: number;
  readonly transport: Transport;
  readonly virtioMmio: number;
  readonly bar64: MemoryRegion | undefined;
}

export function buildDsdt(config: DsdtConfig): Uint8Array {
  const processors = Array.from({ length: config.processors }, (_, uid) => processor(uid));
  const body = encode(
    scope('_SB', ...processors, ...buses(config), ...isaDevices(), generationDevice(), genericEvents()),
    name('_S5', packageOf(integer(acpiSleepTypeS5), integer(acpiSleepTypeS5), integer(0), integer(0))),
  );
  const { bytes } = newTable('DSDT', REVISION, HEADER_SIZE + body.length);
  bytes.set(body, HEADER_SIZE);
  return seal(bytes);
}

/** §8.4: a processor device; its _UID is the one of the MADT. */
const processor = (uid: number): Aml =>
  device(
    `C${uid.toString(16).toUpperCase().padStart(3, '0')}`,
    name('_HID', string('ACPI0007')),
    name('_UID', integer(uid)),
  );

/** How virtio devices are found. */
function buses({ transport, virtioMmio, bar64 }: DsdtConfig): Aml[] {
  if (transport === 'pci') return [pciHostBridge(bar64), motherboard(memory32Fixed(ecam))];
  return [motherboard(), ...Array.from({ length: virtioMmio }, (_, number) => virtioMmioDevice(number))];
}

/** The id that Linux's virtio_mmio looks for; the registers are coherent with the processors' caches (§6.2.17). */
function virtioMmioDevice(number: number): Aml {
  const { region, gsi: line } = virtioMmioPlace(number);
  return device(
    `V${number.toString(16).toUpperCase().padStart(3, '0')}`,
    name('_HID', string('LNRO0005')),
    name('_UID', integer(number)),
    name('_CCA', integer(1)),
    name('_CRS', resourceTemplate(memory32Fixed(region), interrupt(line, 'edge', 'high'))),
  );
}

/**
 * PCI firmware spec §4.1.2: the ECAM range is a motherboard resource, not part of the host bridge's _CRS. The PM registers
 * are here too, since the bridge's I/O window covers them.
 */
function motherboard(...more: Aml[]): Aml {
  const pm = { base: ports.pm1Event.base, size: ports.pmTimer.base + ports.pmTimer.size - ports.pm1Event.base };
  return device('MBRD', name('_HID', eisaId('PNP0C02')), name('_CRS', resourceTemplate(...more, io(pm))));
}

const isaDevices = (): Aml[] => [serialPort(), realTimeClock(), pvpanic()];

const serialPort = (): Aml =>
  device(
    'COM1',
    name('_HID', eisaId('PNP0501')),
    name('_UID', integer(1)),
    name('_CRS', resourceTemplate(io(ports.serial), irq(gsi.serial))),
  );

const realTimeClock = (): Aml =>
  device('RTC', name('_HID', eisaId('PNP0B00')), name('_CRS', resourceTemplate(io(ports.rtc), irq(gsi.rtc))));

/** QEMU docs/specs/pvpanic: the id that drivers look for. */
const pvpanic = (): Aml =>
  device(
    'PEVT',
    name('_HID', string('QEMU0001')),
    name('_STA', integer(PRESENT)),
    name('_CRS', resourceTemplate(io(ports.pvpanic))),
  );
