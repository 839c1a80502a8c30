/**
 * Boot counting: how often an entry has been tried, in its file's name (UAPI.1 "Boot counting"). Main thread.
 *
 * The counters are read and never changed: an image is not written to before its guest runs, and then it is the guest's.
 */
export interface BootCounter {
  readonly left: number;
  readonly done: number;
}

/** C's INT_MAX: systemd-boot ignores larger counters. */
const maxTries = 2 ** 31 - 1;

/** `NAME+LEFT.conf` or `NAME+LEFT-DONE.conf`; undefined if the entry is not counted. `name` includes the suffix. */
export function bootCounter(name: string): BootCounter | undefined {
  const match = /\+([0-9]{1,20})(?:-([0-9]{1,20}))?\.(?:conf|efi)$/i.exec(name);
  if (match === null) return undefined;
  const [left, done] = [Number(match[1]), Number(match[2] ?? 0)];
  return left > maxTries || done > maxTries ? undefined : { left, done };
}
