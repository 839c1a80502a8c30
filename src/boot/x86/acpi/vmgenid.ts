/**
 * The generation identifier: how a guest learns that it goes on where another does, too (Microsoft, "Virtual Machine Generation
 * ID", 2012). Main thread.
 *
 * A driver reads 16 bytes in memory that the device names. When the host has changed them it says so by the generic event
 * device (ACPI 6.5 §5.6.9), whose one interrupt stands for this; the driver then reseeds what must not repeat (trap T48: Linux
 * and Windows find it by its _CID).
 */
import { generationId, gsi } from '../../../devices/memory-map.js';
import { integer, packageOf, string } from '../aml/data.js';
import { interrupt, resourceTemplate } from '../aml/resources.js';
import { device, method, name, notify } from '../aml/terms.js';
import type { Aml } from '../aml/writer.js';

/** The value that the specification gives for a change. */
const CHANGED = 0x80;

export const generationDevice = (): Aml =>
  device(
    'VGEN',
    name('_HID', string('TSVM0001')),
    name('_CID', string('VM_Gen_Counter')),
    name('_DDN', string('VM_Gen_Counter')),
    name('ADDR', packageOf(integer(generationId.start), integer(0))), // low and high 32 bits
  );

export const genericEvents = (): Aml =>
  device(
    'GED',
    name('_HID', string('ACPI0013')),
    name('_UID', integer(0)),
    name('_CRS', resourceTemplate(interrupt(gsi.events, 'edge', 'high'))),
    method('_EVT', 1, notify('VGEN', CHANGED)),
  );
