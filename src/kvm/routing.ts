/**
 * The GSI routing table (KVM API §4.52): which interrupt controller input or MSI message each GSI drives. Any thread.
 *
 * KVM_SET_GSI_ROUTING replaces everything, so PIC, IOAPIC and MSI entries are always rebuilt together: with MSI entries
 * alone KVM_IRQ_LINE of a legacy line silently does nothing (contract §6.1).
 */
import { KvmIrqRouting, KvmIrqRoutingEntry } from './structs.js';

const ROUTING_IRQCHIP = 1;
const ROUTING_MSI = 2;
const PIC_MASTER = 0;
const PIC_SLAVE = 1;
const IOAPIC = 2;
const picPins = 16;
const ioapicPins = 24;
/** GSI 0, the PIT, arrives at IOAPIC pin 2, as on every PC; the MADT says so to the guest. */
const timerPin = 2;
/** The cascade: nothing else arrives at pin 2. */
const cascade = 2;

/** One MSI route; `addressHigh`, `addressLow` and `data` are the driver's words. */
export interface MsiRoute {
  readonly gsi: number;
  readonly addressLow: number;
  readonly addressHigh: number;
  readonly data: number;
}

/** A `kvm_irq_routing` with the standard lines and `routes`. */
export function buildRouting(routes: readonly MsiRoute[]): Uint8Array {
  const entries: [gsi: number, type: number, a: number, b: number, c: number][] = [];
  for (let gsi = 0; gsi < ioapicPins; gsi++) {
    if (gsi === cascade) continue;
    if (gsi < picPins) entries.push([gsi, ROUTING_IRQCHIP, gsi < 8 ? PIC_MASTER : PIC_SLAVE, gsi % 8, 0]);
    entries.push([gsi, ROUTING_IRQCHIP, IOAPIC, gsi === 0 ? timerPin : gsi, 0]);
  }
  for (const route of routes) entries.push([route.gsi, ROUTING_MSI, route.addressLow, route.addressHigh, route.data]);

  const table = new Uint8Array(KvmIrqRouting.size + entries.length * KvmIrqRoutingEntry.size);
  const view = new DataView(table.buffer);
  view.setUint32(KvmIrqRouting.offset.nr, entries.length, true);
  entries.forEach(([gsi, type, a, b, c], i) => {
    const at = KvmIrqRouting.size + i * KvmIrqRoutingEntry.size;
    view.setUint32(at + KvmIrqRoutingEntry.offset.gsi, gsi, true);
    view.setUint32(at + KvmIrqRoutingEntry.offset.type, type, true);
    view.setUint32(at + KvmIrqRoutingEntry.offset.u, a, true);
    view.setUint32(at + KvmIrqRoutingEntry.offset.u + 4, b, true);
    view.setUint32(at + KvmIrqRoutingEntry.offset.u + 8, c, true);
  });
  return table;
}
