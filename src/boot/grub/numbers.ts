/**
 * Numbers as GRUB reads them: its `strtoul` with base 0 (decimal, `0x` hexadecimal, `0` octal), which takes what leads
 * and leaves the rest. Main thread.
 */
export interface ParsedNumber {
  readonly value: number;
  /** False if the text does not begin with a digit; GRUB then raises "unrecognized number" and goes on with 0. */
  readonly valid: boolean;
  readonly rest: string;
}

/** GRUB's limit of an unsigned 64-bit number; a longer one is out of range there. */
const maximum = 2 ** 64;

export function parseNumber(text: string, base: 0 | 10 = 0): ParsedNumber {
  const trimmed = text.replace(/^[ \t\n\r\v\f]+/, '');
  let radix = 10;
  let digits = /^[0-9]+/.exec(trimmed)?.[0] ?? '';
  let start = 0;
  if (base === 0 && trimmed.startsWith('0x')) {
    radix = 16;
    start = 2;
    digits = /^[0-9a-f]+/i.exec(trimmed.slice(2))?.[0] ?? '';
  } else if (base === 0 && /^0[0-7]/.test(trimmed)) {
    radix = 8;
    digits = /^[0-7]+/.exec(trimmed)?.[0] ?? '';
  }
  if (digits === '') return { value: 0, valid: false, rest: text };
  const value = Number.parseInt(digits, radix);
  return { value, valid: value < maximum, rest: trimmed.slice(start + digits.length) };
}

/** `test`'s signed comparison; text that is no number counts as 0. */
export function parseSigned(text: string): number {
  return text.startsWith('-') ? -parseNumber(text.slice(1)).value : parseNumber(text).value;
}
