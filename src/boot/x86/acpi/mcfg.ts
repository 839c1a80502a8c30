/**
 * MCFG: where PCI Express configuration space is in memory (PCI firmware spec §4.1.2). Main thread.
 */
import { ecam, pciBuses } from '../../../devices/memory-map.js';
import { setU64 } from '../../../host/u64.js';
import { HEADER_SIZE, newTable, seal } from './table.js';

const RESERVED = 8;
/** One allocation: base, segment group (2 bytes, zero), first and last bus. */
const ALLOCATION = 16;
const LAST_BUS_AT = 11;

export function buildMcfg(): Uint8Array {
  const at = HEADER_SIZE + RESERVED;
  const { bytes, view } = newTable('MCFG', 1, at + ALLOCATION);
  setU64(view, at, ecam.start);
  view.setUint8(at + LAST_BUS_AT, pciBuses - 1);
  return seal(bytes);
}
