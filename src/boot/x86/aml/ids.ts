/**
 * Identifiers as AML has them: compressed EISA ids (ACPI 6.5 §19.3.4, EISAID) and UUIDs (§19.6.142, ToUUID). Main thread.
 */
import { buffer, integer } from './data.js';
import type { Aml } from './writer.js';

/** `PNP0A08`: three letters of five bits each, then four hexadecimal digits, most significant byte first. */
export function eisaId(id: string): Aml {
  if (!/^[A-Z]{3}[0-9A-F]{4}$/.test(id)) throw new RangeError(`'${id}' is no EISA id`);
  let vendor = 0;
  for (let i = 0; i < 3; i++) vendor = vendor * 32 + (id.charCodeAt(i) - 0x40);
  const product = Number.parseInt(id.slice(3), 16);
  return integer((vendor >> 8) + (vendor & 0xff) * 2 ** 8 + (product >> 8) * 2 ** 16 + (product & 0xff) * 2 ** 24);
}

/** Bytes of the text form in the order of memory: the first three groups are little-endian. */
const UUID_ORDER = [3, 2, 1, 0, 5, 4, 7, 6, 8, 9, 10, 11, 12, 13, 14, 15];

export function uuid(text: string): Aml {
  if (!/^[0-9A-F]{8}(-[0-9A-F]{4}){3}-[0-9A-F]{12}$/i.test(text)) throw new RangeError(`'${text}' is no UUID`);
  const bytes = Buffer.from(text.replaceAll('-', ''), 'hex');
  return buffer((out) => {
    for (const from of UUID_ORDER) out.byte(bytes[from]!);
  });
}
