/**
 * Orders version strings as systemd does (UAPI.10 "Version Format Specification"; `systemd-analyze compare-versions`), oldest
 * first. Main thread.
 *
 * Where the text of the specification and systemd differ, systemd's order is the one that machines boot by.
 */
const isDigit = (code: number): boolean => code >= 0x30 && code <= 0x39;
const isLetter = (code: number): boolean => (code >= 0x41 && code <= 0x5a) || (code >= 0x61 && code <= 0x7a);
const tilde = 0x7e;
/** Each sorts lower than nothing of its kind, in this order: `-`, `^`, `.`. */
const separators = [0x2d, 0x5e, 0x2e];

/** Negative if `a` is older, positive if `b` is, 0 if they are the same version. */
export function compareUapiVersions(a: string, b: string): number {
  let i = 0;
  let j = 0;
  for (;;) {
    while (i < a.length && !counts(a.charCodeAt(i))) i++;
    while (j < b.length && !counts(b.charCodeAt(j))) j++;
    // NaN at the end of a string equals no character.
    let [x, y] = [a.charCodeAt(i), b.charCodeAt(j)];
    if (x === tilde || y === tilde) {
      if (x !== y) return x === tilde ? -1 : 1;
      i++;
      j++;
    }
    if (i >= a.length || j >= b.length) return Math.sign((i < a.length ? 1 : 0) - (j < b.length ? 1 : 0));
    for (const separator of separators) {
      [x, y] = [a.charCodeAt(i), b.charCodeAt(j)];
      if (x !== separator && y !== separator) continue;
      if (x !== y) return x === separator ? -1 : 1;
      i++;
      j++;
    }
    const numeric = isDigit(a.charCodeAt(i)) || isDigit(b.charCodeAt(j));
    const [m, n] = [endOf(a, i, numeric), endOf(b, j, numeric)];
    const order = numeric ? compareDigits(a.slice(i, m), b.slice(j, n)) : compareText(a.slice(i, m), b.slice(j, n));
    if (order !== 0) return order;
    i = m;
    j = n;
  }
}

const counts = (code: number): boolean =>
  isDigit(code) || isLetter(code) || code === tilde || separators.includes(code);

function endOf(text: string, from: number, numeric: boolean): number {
  const belongs = numeric ? isDigit : isLetter;
  let at = from;
  while (at < text.length && belongs(text.charCodeAt(at))) at++;
  return at;
}

/** Any number is newer than none. */
function compareDigits(a: string, b: string): number {
  if ((a === '') !== (b === '')) return a === '' ? -1 : 1;
  const [x, y] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return Math.sign(x.length - y.length) || compareText(x, y);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
