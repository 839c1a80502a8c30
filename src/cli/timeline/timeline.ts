/** What a boot timeline shows: plain data, also the JSON inside the page. Any thread; pure. */
import type { Phase } from '../../errors.js';
import { loginPrompt } from '../../machine/boot-watch.js';

/** Counters of exits by kind at one moment; all since the guest was entered. */
export interface ExitSample {
  readonly atMs: number;
  readonly exits: Readonly<Record<string, number>>;
}

/** All times in milliseconds since the process started. */
export interface Timeline {
  readonly name: string;
  readonly command: string;
  readonly version: string;
  /** When the process started, ISO 8601. */
  readonly startedAt: string;
  /** How the boot ended: "login prompt", "panic: ...". */
  readonly outcome: string;
  readonly endMs: number;
  readonly phases: readonly Phase[];
  readonly samples: readonly ExitSample[];
}

export interface Bar {
  readonly name: string;
  readonly startMs: number;
  readonly endMs: number;
  readonly guest: boolean;
  readonly guestMs?: number | undefined;
}

const isGuest = ({ name }: Phase): boolean => name.startsWith('guest: ');

/** What tsvmm itself did. */
export const hostBars = ({ phases }: Timeline): Bar[] =>
  phases
    .filter((phase) => !isGuest(phase))
    .map(({ name, startMs, durationMs }) => ({ name, startMs, endMs: startMs + durationMs, guest: false }));

/** What runs from each milestone of the guest to the next. */
const stages: Readonly<Record<string, string>> = {
  'guest: kernel': 'kernel',
  'guest: initramfs': 'initramfs',
  'guest: root mounted': 'root file system mounted',
  'guest: init': 'init and services',
  [loginPrompt]: 'login prompt',
};

/** The guest's boot in pieces without gaps, from its first instruction to the end of the record. */
export function guestBars(timeline: Timeline): Bar[] {
  const entered = enteredMs(timeline);
  if (entered === undefined) return [];
  const moments = timeline.phases
    .filter(isGuest)
    .map(({ name, startMs, guestMs }) => ({ name: stages[name] ?? name, startMs, guestMs }));
  const all = [{ name: 'first instructions', startMs: entered, guestMs: undefined }, ...moments];
  return all.map(({ name, startMs, guestMs }, i) => ({
    name,
    startMs,
    endMs: Math.max(startMs, all[i + 1]?.startMs ?? timeline.endMs),
    guest: true,
    guestMs,
  }));
}

/** When the first vCPU entered the guest. */
export function enteredMs({ phases }: Timeline): number | undefined {
  const enter = phases.find(({ name }) => name === 'enter');
  return enter && enter.startMs + enter.durationMs;
}

/** Exits by kind at the end, the most frequent first. */
export function exitTotals({ samples }: Timeline): [kind: string, count: number][] {
  return Object.entries(samples.at(-1)?.exits ?? {}).sort(([, a], [, b]) => b - a);
}
