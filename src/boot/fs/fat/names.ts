/**
 * Names in FAT directories: short ones in the OEM code page, long ones in pieces of UTF-16, and how names are compared
 * (Microsoft, "FAT: General Overview of On-Disk Format" 1.03, "Short and Long File Names"). Main thread.
 */
const shortNameSize = 11;
const baseSize = 8;
/** A first byte of 0x05 stands for 0xE5, which would mark the entry as free. */
const escapedE5 = 0x05;
/** Byte 12 of an entry, as Windows NT and Linux use it: the base or the extension is shown in lower case. */
const lowerCase = { base: 0x08, extension: 0x10 } as const;

/** Code page 437, 0x80 to 0xFF: what Linux takes for short names when not told otherwise. */
const cp437 =
  'ÇüéâäàåçêëèïîìÄÅÉæÆôöòûùÿÖÜ¢£¥₧ƒáíóúñÑªº¿⌐¬½¼¡«»░▒▓│┤╡╢╖╕╣║╗╝╜╛┐└┴┬├─┼╞╟╚╔╩╦╠═╬╧╨╤╥╙╘╒╓╫╪┘┌█▄▌▐▀αßΓπΣσµτΦΘΩδ∞φε∩≡±≥≤⌠⌡÷≈°∙·√ⁿ²■\u00a0';

/** The short name in `entry`, with its dot. */
export function shortName(entry: Buffer, caseFlags: number): string {
  const text = (from: number, to: number, lower: boolean) => {
    let out = '';
    for (let i = from; i < to; i++) {
      const byte = i === 0 && entry[0] === escapedE5 ? 0xe5 : entry[i]!;
      out += byte < 0x80 ? String.fromCharCode(byte) : cp437[byte - 0x80];
    }
    const trimmed = out.replace(/ +$/, '');
    return lower ? trimmed.toLowerCase() : trimmed;
  };
  const base = text(0, baseSize, (caseFlags & lowerCase.base) !== 0);
  const extension = text(baseSize, shortNameSize, (caseFlags & lowerCase.extension) !== 0);
  return extension === '' ? base : `${base}.${extension}`;
}

/** What the pieces of a long name carry to show which short entry they belong to. */
export function shortNameChecksum(entry: Buffer): number {
  let sum = 0;
  for (let i = 0; i < shortNameSize; i++) sum = (((sum & 1) << 7) + (sum >>> 1) + entry[i]!) & 0xff;
  return sum;
}

const piece = { ordinal: 0, checksum: 13, characters: [[1, 11], [14, 26], [28, 32]] } as const; // biome-ignore format: offsets
const lastPiece = 0x40;
const ordinalMask = 0x3f;
const maxPieces = 20;

/** Collects the pieces that come before a short entry, last one first. Anything out of order drops what was collected. */
export class LongName {
  #text = '';
  #expected = 0;
  #checksum = -1;

  add(entry: Buffer): void {
    const ordinal = entry[piece.ordinal]! & ordinalMask;
    if (entry[piece.ordinal]! & lastPiece) {
      this.#text = '';
      this.#expected = ordinal <= maxPieces ? ordinal : 0;
      this.#checksum = entry[piece.checksum]!;
    }
    if (ordinal === 0 || ordinal !== this.#expected || entry[piece.checksum] !== this.#checksum) {
      this.drop();
      return;
    }
    this.#expected--;
    this.#text = piece.characters.map(([from, to]) => entry.toString('utf16le', from, to)).join('') + this.#text;
  }

  /** The name if it is complete and belongs to the short entry `entry`; whatever was collected is dropped. */
  take(entry: Buffer): string | undefined {
    const complete = this.#expected === 0 && this.#checksum === shortNameChecksum(entry);
    const name = this.#text.replace(/\0.*$/s, '');
    this.drop();
    return complete && name !== '' ? name : undefined;
  }

  drop(): void {
    this.#text = '';
    this.#expected = 0;
    this.#checksum = -1;
  }
}

/** A name as it is compared: without regard to case, without trailing dots. Its length is that of the name without them. */
export function fold(name: string): string {
  let folded = '';
  for (const character of name.replace(/\.+$/, '')) {
    const upper = character.toUpperCase();
    folded += upper.length === character.length ? upper : character;
  }
  return folded;
}

/** Is `name` the one that `folded` stands for? */
export function isNamed(name: string, folded: string): boolean {
  return (name.length === folded.length || name.endsWith('.')) && fold(name) === folded;
}
