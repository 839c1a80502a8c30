/**
 * Data and names of AML (ACPI 6.5 §20.2.2, §20.2.3). Main thread.
 *
 * Constants are the shortest ones, as a compiler chooses them, so that what `iasl` recompiles is identical.
 */
import { type Aml, type AmlWriter, encode } from './writer.js';

const Prefix = { byte: 0x0a, word: 0x0b, dword: 0x0c, string: 0x0d, qword: 0x0e } as const;
const DUAL_NAME = 0x2e;
const MULTI_NAME = 0x2f;
const NAME_LENGTH = 4;
const BUFFER = 0x11;
const PACKAGE = 0x12;

/** A path such as `\_S5`, `\_SB.PCI0` or `_CRS`; names shorter than four characters are padded with underscores. */
export const namePath =
  (path: string): Aml =>
  (out) => {
    const absolute = path.startsWith('\\');
    const segments = (absolute ? path.slice(1) : path).split('.');
    if (absolute) out.ascii('\\');
    if (segments.length === 2) out.byte(DUAL_NAME);
    if (segments.length > 2) {
      out.byte(MULTI_NAME);
      out.byte(segments.length);
    }
    for (const segment of segments) {
      if (!isName(segment)) throw new RangeError(`'${segment}' in '${path}' is no AML name`);
      out.ascii(segment.padEnd(NAME_LENGTH, '_'));
    }
  };

/** A letter or underscore, then letters, digits and underscores. */
function isName(text: string): boolean {
  for (let i = 0; i < text.length; i++) {
    const c = text.charCodeAt(i);
    const letter = (c >= 0x41 && c <= 0x5a) || c === 0x5f;
    const digit = c >= 0x30 && c <= 0x39 && i > 0;
    if (!letter && !digit) return false;
  }
  return text.length > 0 && text.length <= NAME_LENGTH;
}

/** A non-negative integer below 2^53. */
export const integer =
  (value: number): Aml =>
  (out) =>
    writeInteger(out, value);

export function writeInteger(out: AmlWriter, value: number): void {
  if (value <= 1)
    out.byte(value); // ZeroOp, OneOp
  else if (value < 0x100) {
    out.byte(Prefix.byte);
    out.byte(value);
  } else if (value < 0x1_0000) {
    out.byte(Prefix.word);
    out.u16(value);
  } else if (value < 0x1_0000_0000) {
    out.byte(Prefix.dword);
    out.u32(value);
  } else {
    out.byte(Prefix.qword);
    out.u64(value);
  }
}

/** Printable ASCII. */
export const string =
  (text: string): Aml =>
  (out) => {
    if (!/^[ -~]*$/.test(text)) throw new RangeError(`'${text}' is no AML string`);
    out.byte(Prefix.string);
    out.ascii(text);
    out.byte(0);
  };

/** A buffer of what `terms` write. */
export const buffer =
  (...terms: Aml[]): Aml =>
  (out) => {
    const size = encode(...terms).length; // it precedes the bytes in as many bytes as it needs
    out.byte(BUFFER);
    out.sized([integer(size), ...terms]);
  };

export const packageOf = (...elements: Aml[]): Aml => packageOfCount(elements.length, ...elements);

/** A package of `count` elements, which `terms` write. */
export const packageOfCount =
  (count: number, ...terms: Aml[]): Aml =>
  (out) => {
    if (count > 255) throw new RangeError(`an AML package of ${count} elements needs a VarPackage`);
    out.byte(PACKAGE);
    out.sized([(inner) => inner.byte(count), ...terms]);
  };
