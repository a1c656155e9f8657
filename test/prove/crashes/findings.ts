/** What was found, as failures of a proof. */
import type { ProofFailure } from '../proof.ts';
import type { Finding } from './model.ts';

/** Findings of one run that are shown in full. */
const SHOWN_MAX = 5;

/** What a run of lives found, and why it ended early. */
export interface Found {
  readonly findings: readonly Finding[];
  readonly failure: string | undefined;
}

/** At most one failure for each: findings have one cause more often than not. */
export function failuresOf(
  subject: string,
  { findings, failure }: Found,
  directory: string,
  replay: string,
): ProofFailure[] {
  const failures: ProofFailure[] = [];
  if (findings.length > 0) {
    const what = `${subject}: ${countsOf(findings)}`;
    const shown = findings.slice(0, SHOWN_MAX).map(({ kind, message }) => `${kind}: ${message}`);
    const hidden = findings.length - shown.length;
    if (hidden > 0) shown.push(`… and ${hidden} more`);
    const place = `plans, event logs, dumps and stores of the last lives: ${directory}`;
    failures.push({ what, detail: [...shown, place].join('\n'), replay });
  }
  if (failure !== undefined) {
    failures.push({ what: `${subject}: a life failed`, detail: failure, replay });
  }
  return failures;
}

function countsOf(findings: readonly Finding[]): string {
  const kinds = new Map<string, number>();
  for (const { kind } of findings) kinds.set(kind, (kinds.get(kind) ?? 0) + 1);
  return Array.from(kinds, ([kind, count]) => `${count} ${kind}`).join(', ');
}
