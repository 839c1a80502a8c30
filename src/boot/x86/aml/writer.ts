/**
 * Where ACPI Machine Language is written to (ACPI 6.5 §20.2). Main thread.
 *
 * The tables are made at every start of a VM, on a thread that must not stall and mostly before V8 has compiled anything;
 * so terms (data.ts, terms.ts) are functions that write themselves, once and in order, without arrays in between.
 */
import { ByteWriter } from '../byte-writer.js';

export type Aml = (out: AmlWriter) => void;

export class AmlWriter extends ByteWriter {
  all(terms: readonly Aml[]): void {
    for (const term of terms) term(this);
  }

  /**
   * What `terms` write, preceded by PkgLength: the length of both, in the shortest of its four forms, as a compiler would
   * choose it (ACPI 6.5 §20.2.4).
   */
  sized(terms: readonly Aml[]): void {
    const start = this.length;
    this.byte(0);
    this.all(terms);
    const total = this.length - start; // with one byte of PkgLength
    if (total < 0x40) {
      this.setByte(start, total);
      return;
    }
    const extra = total + 1 < 0x1000 ? 1 : total + 2 < 0x10_0000 ? 2 : 3;
    const length = total + extra;
    if (length >= 0x1000_0000) throw new RangeError(`${length} bytes do not fit into an AML package`);
    this.openGap(start + 1, extra);
    this.setByte(start, (extra << 6) | (length & 0xf));
    for (let i = 1, rest = length >> 4; i <= extra; i++, rest >>= 8) this.setByte(start + i, rest & 0xff);
  }
}

/** The bytes of `terms`. */
export function encode(...terms: Aml[]): Uint8Array {
  const out = new AmlWriter();
  out.all(terms);
  return out.bytes;
}
