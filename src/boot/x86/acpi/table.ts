/**
 * The header and checksum that every ACPI table but RSDP and FACS has (ACPI 6.5 §5.2.6). Main thread.
 */
import { viewOf } from '../bytes.js';

export const HEADER_SIZE = 36;
export const OEM_ID = 'TSVMM ';
const OEM_TABLE_ID = 'TSVMM   ';
const OEM_REVISION = 1;
const CREATOR_ID = 'TSVM';
const CREATOR_REVISION = 1;

const Header = {
  signature: 0,
  length: 4,
  revision: 8,
  checksum: 9,
  oemId: 10,
  oemTableId: 16,
  oemRevision: 24,
  creatorId: 28,
  creatorRevision: 32,
} as const;

/** A table of `size` bytes with its header; fill in the rest, then call `seal`. */
export function newTable(signature: string, revision: number, size: number): { bytes: Uint8Array; view: DataView } {
  const bytes = new Uint8Array(size);
  const view = viewOf(bytes);
  setAscii(bytes, Header.signature, signature);
  view.setUint32(Header.length, size, true);
  view.setUint8(Header.revision, revision);
  setAscii(bytes, Header.oemId, OEM_ID);
  setAscii(bytes, Header.oemTableId, OEM_TABLE_ID);
  view.setUint32(Header.oemRevision, OEM_REVISION, true);
  setAscii(bytes, Header.creatorId, CREATOR_ID);
  view.setUint32(Header.creatorRevision, CREATOR_REVISION, true);
  return { bytes, view };
}

/** Makes all bytes add up to zero by the one at `checksumAt`. */
export function seal(bytes: Uint8Array, checksumAt: number = Header.checksum): Uint8Array {
  bytes[checksumAt] = 0;
  let sum = 0;
  for (let i = 0; i < bytes.length; i++) sum += bytes[i]!;
  bytes[checksumAt] = -sum;
  return bytes;
}

export function setAscii(bytes: Uint8Array, at: number, text: string): void {
  for (let i = 0; i < text.length; i++) bytes[at + i] = text.charCodeAt(i);
}
