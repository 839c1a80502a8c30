/**
 * Text from a disk image as it may go to a terminal: titles, labels and paths are the guest's, and an escape sequence in
 * one must not reach the terminal of the person who inspects it. Main thread.
 */
import { escaped } from '../../disk/range.js';

/** Control characters, and the marks that reverse or hide text (Unicode Bidi_Control, zero width, line separators). */
// biome-ignore lint/suspicious/noControlCharactersInRegex: that is what it is for
const unprintable = /[\u0000-\u001f\u007f-\u009f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff\ufffe\uffff]/g;

export const printable = (text: string): string => text.replace(unprintable, escaped);

/** The same, at most `length` characters. */
export function shortened(text: string, length = 120): string {
  const safe = printable(text);
  return safe.length <= length ? safe : `${safe.slice(0, length - 1)}…`;
}
