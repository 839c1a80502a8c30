/**
 * Boot counting: how often an entry has been tried, in its file's name (UAPI.1 "Boot counting"). Main thread.
 *
 * The counters are read and never changed: an image is not written to before its guest runs, and then it is the guest's.
 */
export interface CountedName {
  /** Without the counters: what bootctl and, from 258 on, systemd-boot call the entry, however often it was tried. */
  readonly name: string;
  /** Undefined if the entry is not counted. */
  readonly counter: BootCounter | undefined;
}

export interface BootCounter {
  readonly left: number;
  readonly done: number;
}

/** C's INT_MAX: systemd-boot ignores larger counters. */
const maxTries = 2 ** 31 - 1;

/** `NAME+LEFT.conf` or `NAME+LEFT-DONE.conf`. */
export function countedName(file: string): CountedName {
  const match = /\+([0-9]{1,20})(?:-([0-9]{1,20}))?(\.(?:conf|efi))$/i.exec(file);
  const [left, done] = [Number(match?.[1]), Number(match?.[2] ?? 0)];
  if (match === null || left > maxTries || done > maxTries) return { name: file, counter: undefined };
  return { name: `${file.slice(0, match.index)}${match[3]}`, counter: { left, done } };
}
