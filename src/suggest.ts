/** "Did you mean": the known word that is nearest to a mistyped one, for the hints of errors. Any thread. */

/** As many edits as a slip of the fingers makes; more is another word. */
const mostEdits = 3;

/** The nearest of `known`, if one is near: fewer edits than letters that stay. */
export function nearest(word: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  let fewest = mostEdits + 1;
  for (const candidate of known) {
    const edits = distance(word.toLowerCase(), candidate.toLowerCase());
    if (edits < fewest && edits <= Math.max(word.length, candidate.length) * 0.6) {
      best = candidate;
      fewest = edits;
    }
  }
  return best;
}

/** A hint for a word that is not known: the nearest one, if one is near, and `otherwise`. */
export function didYouMean(word: string, known: Iterable<string>, otherwise: string): string {
  const found = nearest(word, known);
  return found === undefined ? otherwise : `did you mean ${found}? ${otherwise}`;
}

/** Insertions, deletions, replacements and swaps of neighbours (Damerau and Levenshtein's optimal string alignment). */
function distance(a: string, b: string): number {
  if (Math.abs(a.length - b.length) > mostEdits) return mostEdits + 1;
  let twoAgo: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const replaced = last[j - 1]! + (a[i - 1] === b[j - 1] ? 0 : 1);
      row[j] = Math.min(last[j]! + 1, row[j - 1]! + 1, replaced);
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j]!, twoAgo[j - 2]! + 1);
    }
    twoAgo = last;
    last = row;
  }
  return last[b.length]!;
}
