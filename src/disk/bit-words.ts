/** Bits in arrays of 32-bit words, a run of them in one word at a time. Any thread; pure. */
export const bitsPerWord = 32;
export const allSet = 0xffff_ffff;

/** How many of the bits from `at` to before `end` lie in the word of `at`. */
export const bitsInWord = (at: number, end: number): number => Math.min(bitsPerWord - (at % bitsPerWord), end - at);

/** `count` bits of one word, from that of `at` on. */
export const wordMask = (at: number, count: number): number =>
  count === bitsPerWord ? allSet : ((1 << count) - 1) << (at % bitsPerWord);
