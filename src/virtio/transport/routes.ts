/**
 * The interrupt routes that the MSI-X tables of a machine ask for (KVM API §4.52, contract §6.1). Any thread.
 */
import type { MsiRoute } from '../../kvm/routing.js';
import type { InterruptTarget } from '../interrupt.js';
import { msixEntryWords } from '../registers.js';

/**
 * Intel SDM vol. 3 §10.11.1: the local APICs' address range. In the upper word only bits 8-31 carry destination bits; KVM
 * refuses the whole table for one entry that has others.
 */
const messageBase = 0xfee0_0000;
const messageMask = 0xfff0_0000;
const highReserved = 0xff;

/**
 * All vectors of all devices that hold a message for a local APIC. An entry that holds anything else has no route: on
 * hardware it would be a write to memory or to nothing, and neither is an interrupt.
 */
export function msiRoutes(targets: readonly InterruptTarget[]): MsiRoute[] {
  const routes: MsiRoute[] = [];
  for (const { state, descriptors } of targets) {
    for (let vector = 0; vector * msixEntryWords < state.msixTable.length; vector++) {
      const at = vector * msixEntryWords;
      const addressLow = Atomics.load(state.msixTable, at) >>> 0;
      const addressHigh = Atomics.load(state.msixTable, at + 1) >>> 0;
      if ((addressLow & messageMask) >>> 0 !== messageBase || (addressHigh & highReserved) !== 0) continue;
      const data = Atomics.load(state.msixTable, at + 2) >>> 0;
      routes.push({ gsi: descriptors.gsi + vector, addressLow, addressHigh, data });
    }
  }
  return routes;
}
