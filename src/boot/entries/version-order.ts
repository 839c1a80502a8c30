/**
 * Orders kernel versions, oldest first. Main thread.
 *
 * Debian's rule (Debian Policy §5.6.12, "deb-version(7)"), which agrees with rpm's on kernel names: runs of other
 * characters and runs of digits are compared in turn, `~` sorts before the end. Release candidates (`-rc1`) come before
 * their release.
 */
export const compareVersions = (a: string, b: string): number => compareParts(versionParts(a), versionParts(b));

/** The same for versions that are compared with many: what `versionParts` made of them. */
export function compareParts(left: readonly string[], right: readonly string[]): number {
  for (let i = 0; i < Math.max(left.length, right.length); i++) {
    const [x, y] = [left[i] ?? '', right[i] ?? ''];
    const order = i % 2 === 0 ? compareText(x, y) : compareDigits(x, y);
    if (order !== 0) return order;
  }
  return 0;
}

/** Text and digits in turn, text first; either may be empty. */
export const versionParts = (version: string): string[] => version.replace(/[-.]rc(?=[0-9])/g, '~rc').split(/([0-9]+)/);

function compareDigits(a: string, b: string): number {
  const [x, y] = [a.replace(/^0+/, ''), b.replace(/^0+/, '')];
  return x.length - y.length || (x < y ? -1 : x > y ? 1 : 0);
}

function compareText(a: string, b: string): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const order = weight(a[i]) - weight(b[i]);
    if (order !== 0) return order;
  }
  return 0;
}

/** `~`, the end, letters, everything else. */
function weight(char: string | undefined): number {
  if (char === undefined) return 0;
  if (char === '~') return -1;
  const code = char.codePointAt(0) ?? 0;
  return /[A-Za-z]/.test(char) ? code : code + 0x100;
}
