/** Suggests what somebody meant who mistyped a name. */

/** ` (did you mean "x"?)`, or nothing where no known name is near. */
export function suggestion(given: string, known: Iterable<string>): string {
  const name = nearest(given, known);
  return name === undefined ? '' : ` (did you mean "${name}"?)`;
}

/** The known name that takes the fewest edits, if it takes few enough. */
export function nearest(given: string, known: Iterable<string>): string | undefined {
  let best: string | undefined;
  // A third of the letters may be wrong; more is another word.
  let bestDistance = Math.min(given.length, Math.max(2, Math.floor(given.length / 3)) + 1);
  const lowered = given.toLowerCase();
  for (const name of known) {
    // Never fewer edits than the lengths differ by: a text of a megabyte is like none.
    if (Math.abs(lowered.length - name.length) >= bestDistance) continue;
    const distance = editDistance(lowered, name.toLowerCase());
    if (distance < bestDistance) {
      best = name;
      bestDistance = distance;
    }
  }
  return best;
}

/** Levenshtein distance where swapping two neighbours counts as one edit. */
function editDistance(a: string, b: string): number {
  let beforeLast: number[] = [];
  let last = Array.from({ length: b.length + 1 }, (_, j) => j);
  for (let i = 1; i <= a.length; i++) {
    const row = [i];
    for (let j = 1; j <= b.length; j++) {
      const isSame = a[i - 1] === b[j - 1];
      let cost = Math.min(last[j]! + 1, row[j - 1]! + 1, last[j - 1]! + (isSame ? 0 : 1));
      const isSwap = i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1];
      if (isSwap) cost = Math.min(cost, beforeLast[j - 2]! + 1);
      row.push(cost);
    }
    beforeLast = last;
    last = row;
  }
  return last[b.length]!;
}
