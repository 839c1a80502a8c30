/**
 * Matching with stars: the loop that GRUB's file name patterns and those of loader.conf share. Main thread.
 *
 * Goes back to the last star only, so that `*a*a*a*b` takes at most text times pattern steps.
 */

/** Whether `symbols` match all of `chars`: a star any number of characters, every other symbol one that it `accepts`. */
export function matchesStars<S>(
  chars: readonly string[],
  symbols: readonly S[],
  isStar: (symbol: S) => boolean,
  accepts: (symbol: S, char: string) => boolean,
): boolean {
  let at = 0;
  let next = 0;
  let star = -1;
  let resume = 0;
  while (at < chars.length) {
    const symbol = symbols[next];
    if (symbol !== undefined && isStar(symbol)) {
      star = next++;
      resume = at;
    } else if (symbol !== undefined && accepts(symbol, chars[at]!)) {
      next++;
      at++;
    } else if (star >= 0) {
      next = star + 1;
      at = ++resume;
    } else {
      return false;
    }
  }
  return symbols.slice(next).every(isStar);
}
