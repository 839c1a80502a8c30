/**
 * The volume's name, as blkid(8) and so `LABEL=` have it. Main thread.
 *
 * The primary descriptor has 32 characters, mostly in capitals; Joliet has 16 in UTF-16, in the case that was meant.
 * Where both say the same as far as they can, the name is Joliet's with the rest of the primary's.
 */

/** `primary` and `joliet` are the volume identifiers as they are recorded. */
export function labelOf(primary: Buffer, joliet: Buffer | undefined): string {
  const plain = primary.toString('latin1');
  const label = joliet === undefined ? plain : merge(utf16be(joliet), plain);
  return label.replace(/\0.*$/s, '').replace(/\s+$/, '');
}

export const utf16be = (bytes: Buffer): string =>
  Buffer.from(bytes.subarray(0, bytes.length & ~1))
    .swap16()
    .toString('utf16le');

/** `_` stands for a character that the other set has not. */
function merge(wide: string, plain: string): string {
  const characters = [...wide];
  let merged = '';
  for (const [i, character] of characters.entries()) {
    const other = plain[i];
    if (other === undefined || other === '_') merged += character;
    else if (character === '_') merged += other;
    else if (character.toUpperCase() === other.toUpperCase()) merged += /[A-Z]/.test(other) ? character : other;
    else return wide;
  }
  return merged + plain.slice(characters.length);
}
