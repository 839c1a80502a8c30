/**
 * Orders entries as the `blscfg` command of the Red Hat family's GRUB does: file names taken apart into name, version and
 * release, each compared by rpm's rule (rpm-version(7), `rpmvercmp`), oldest first. Main thread.
 */

/** As `rpmvercmp`, with GRUB's `+`: a version that goes on with `+` is newer than its base, older than any other sequel. */
export function compareRpmVersions(a: string, b: string): number {
  if (a === b) return 0;
  let [left, right] = [a, b];
  for (;;) {
    left = left.replace(/^[^A-Za-z0-9~+]+/, '');
    right = right.replace(/^[^A-Za-z0-9~+]+/, '');
    if (left.startsWith('~') || right.startsWith('~')) {
      if (!left.startsWith('~')) return 1;
      if (!right.startsWith('~')) return -1;
      left = left.slice(1);
      right = right.slice(1);
      continue;
    }
    if (left.startsWith('+') || right.startsWith('+')) {
      if (left === '') return -1;
      if (right === '') return 1;
      if (!left.startsWith('+')) return 1;
      if (!right.startsWith('+')) return -1;
      left = left.slice(1);
      right = right.slice(1);
      continue;
    }
    if (left === '' || right === '') return Math.sign(left.length - right.length);
    const numeric = /^[0-9]/.test(left);
    const segment = numeric ? /^[0-9]*/ : /^[A-Za-z]*/;
    const [x = ''] = segment.exec(left) ?? [];
    const [y = ''] = segment.exec(right) ?? [];
    // A number is newer than letters.
    if (y === '') return numeric ? 1 : -1;
    const order = numeric ? compareDigits(x, y) : compareText(x, y);
    if (order !== 0) return order;
    left = left.slice(x.length);
    right = right.slice(y.length);
  }
}

/** Two entries by their file names without `.conf`. */
export function compareRpmNames(a: string, b: string): number {
  const [x, y] = [splitName(a), splitName(b)];
  return (
    compareRpmVersions(x.name, y.name) ||
    compareRpmVersions(x.version, y.version) ||
    compareRpmVersions(x.release, y.release)
  );
}

/** `name-version-release` from its end; what is missing is empty, and a lone part is the name. */
function splitName(text: string): { name: string; version: string; release: string } {
  const last = text.lastIndexOf('-');
  if (last < 0) return { name: text, version: '', release: '' };
  const middle = text.lastIndexOf('-', last - 1);
  if (last === 0 || middle < 0) return { name: text.slice(0, last), version: text.slice(last + 1), release: '' };
  return { name: text.slice(0, middle), version: text.slice(middle + 1, last), release: text.slice(last + 1) };
}

function compareDigits(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return Math.sign(x.length - y.length) || compareText(x, y);
}

const compareText = (a: string, b: string): number => (a < b ? -1 : a > b ? 1 : 0);
