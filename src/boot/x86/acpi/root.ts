/**
 * Where the guest begins: the root pointer and the table of tables (ACPI 6.5 §5.2.5 RSDP, §5.2.8 XSDT). Main thread.
 *
 * There is no RSDT: it is for 32-bit systems older than ACPI 2.0.
 */
import { setU64 } from '../../../host/u64.js';
import { viewOf } from '../bytes.js';
import { HEADER_SIZE, newTable, OEM_ID, seal, setAscii } from './table.js';

export const RSDP_SIZE = 36;
const RSDP_REVISION = 2;
/** The first checksum covers the ACPI 1.0 part, the second everything. */
const ACPI1_SIZE = 20;

const Rsdp = { signature: 0, checksum: 8, oemId: 9, revision: 15, length: 20, xsdt: 24, extendedChecksum: 32 } as const;

export function buildRsdp(xsdt: number): Uint8Array {
  const bytes = new Uint8Array(RSDP_SIZE);
  const view = viewOf(bytes);
  setAscii(bytes, Rsdp.signature, 'RSD PTR ');
  setAscii(bytes, Rsdp.oemId, OEM_ID);
  view.setUint8(Rsdp.revision, RSDP_REVISION);
  view.setUint32(Rsdp.length, RSDP_SIZE, true);
  setU64(view, Rsdp.xsdt, xsdt);
  seal(bytes.subarray(0, ACPI1_SIZE), Rsdp.checksum);
  return seal(bytes, Rsdp.extendedChecksum);
}

export function buildXsdt(tables: readonly number[]): Uint8Array {
  const { bytes, view } = newTable('XSDT', 1, HEADER_SIZE + tables.length * 8);
  for (const [i, address] of tables.entries()) setU64(view, HEADER_SIZE + i * 8, address);
  return seal(bytes);
}
