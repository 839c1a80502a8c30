/** Runs of memory as sets of bytes: what is in one, in both, in the first alone. Any thread; pure. */

/** Offsets in memory; of whole pages. */
export interface Run {
  readonly start: number;
  readonly end: number;
}

export const lengthOf = ({ start, end }: Run): number => end - start;

/** Of runs in any order: in order, and apart from each other. */
export function union(runs: readonly Run[]): Run[] {
  const joined: { start: number; end: number }[] = [];
  for (const { start, end } of [...runs].sort((a, b) => a.start - b.start)) {
    const last = joined.at(-1);
    if (last !== undefined && start <= last.end) last.end = Math.max(last.end, end);
    else joined.push({ start, end });
  }
  return joined;
}

/** What is in `runs` and in none of `others`; both in order and without overlaps. */
export function without(runs: readonly Run[], others: readonly Run[]): Run[] {
  const left: Run[] = [];
  let next = 0;
  for (const { start, end } of runs) {
    let at = start;
    while (next < others.length && others[next]!.end <= at) next++;
    for (let i = next; i < others.length && others[i]!.start < end; i++) {
      const other = others[i]!;
      if (other.start > at) left.push({ start: at, end: other.start });
      at = Math.max(at, other.end);
    }
    if (at < end) left.push({ start: at, end });
  }
  return left;
}

/** What is in both; both in order and without overlaps. */
export function within(runs: readonly Run[], others: readonly Run[]): Run[] {
  const both: Run[] = [];
  let next = 0;
  for (const { start, end } of runs) {
    while (next < others.length && others[next]!.end <= start) next++;
    for (let i = next; i < others.length && others[i]!.start < end; i++)
      both.push({ start: Math.max(start, others[i]!.start), end: Math.min(end, others[i]!.end) });
  }
  return both;
}
