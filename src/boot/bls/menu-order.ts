/**
 * The order of systemd-boot's menu and the titles in it (UAPI.1 "Sorting"; systemd-boot(7)). Main thread.
 */
import type { BootCounter } from './boot-counter.js';
import { compareUapiVersions } from './uapi-version.js';

/** What is known of an entry before it is looked at closely. Empty strings and undefined both mean "not given". */
export interface MenuKeys {
  /** The file's name in lower case, without boot counters, for a profile other than the first with `@ID`. */
  readonly id: string;
  /** The file's name in lower case, without boot counters. */
  readonly fileId: string;
  /** Undefined if the entry is not counted. */
  readonly counter: BootCounter | undefined;
  /** Number of the profile in a multi-profile image. */
  readonly profile: number;
  readonly title: string | undefined;
  readonly sortKey: string | undefined;
  readonly version: string | undefined;
  readonly machineId: string | undefined;
}

const compare = (a: string | number, b: string | number): number => (a < b ? -1 : a > b ? 1 : 0);
const text = (value: string | undefined): string => value ?? '';
const given = (value: string | undefined): boolean => value !== undefined;

export function compareEntries(a: MenuKeys, b: MenuKeys): number {
  return (
    compare(Number(a.counter?.left === 0), Number(b.counter?.left === 0)) ||
    compare(Number(!given(a.sortKey)), Number(!given(b.sortKey))) ||
    (given(a.sortKey) && given(b.sortKey) ? compareKeys(a, b) : 0) ||
    -compareUapiVersions(a.fileId, b.fileId) ||
    compare(a.profile, b.profile) ||
    compareCounters(a.counter, b.counter)
  );
}

const compareKeys = (a: MenuKeys, b: MenuKeys): number =>
  compare(text(a.sortKey), text(b.sortKey)) ||
  compare(text(a.machineId), text(b.machineId)) ||
  -compareUapiVersions(text(a.version), text(b.version));

function compareCounters(a: BootCounter | undefined, b: BootCounter | undefined): number {
  if (a === undefined || b === undefined) return 0;
  return -compare(a.left, b.left) || compare(a.done, b.done);
}

/** Titles as they are shown: where several are the same, the version is added, then the machine, then the file's name. */
export function uniqueTitles(entries: readonly MenuKeys[]): string[] {
  let titles = entries.map(({ title, id }) => title ?? id);
  const additions: ((entry: MenuKeys) => string | undefined)[] = [
    ({ version }) => version,
    ({ machineId }) => machineId?.slice(0, 8),
    ({ id }) => id,
  ];
  for (const addition of additions) {
    const times = new Map<string, number>();
    for (const title of titles) times.set(title, (times.get(title) ?? 0) + 1);
    if (times.size === titles.length) break;
    titles = titles.map((title, index) => {
      const entry = entries[index];
      const added = entry === undefined || times.get(title) === 1 ? undefined : addition(entry);
      return added === undefined ? title : `${title} (${added})`;
    });
  }
  return titles;
}
