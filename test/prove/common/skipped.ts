/** What a proof says of something that cannot be done here. */
import { IS_REAL_REQUIRED } from '../../support/required.ts';
import type { ProofFailure, ProofRow } from '../proof.ts';

/** One row; as a report, or on its own. */
export interface SkippedReport {
  readonly rows: readonly [ProofRow];
  readonly failures: readonly ProofFailure[];
}

/** A row that says why nothing was done, which is a failure where everything has to be there. */
export function skippedReport(
  proof: string,
  what: string,
  skipped: string,
  isRequired: boolean = IS_REAL_REQUIRED,
): SkippedReport {
  const failures: ProofFailure[] = [];
  if (isRequired) {
    const replay = `PULLWARDEN_REQUIRE_REAL=1 npm run prove -- ${proof}`;
    failures.push({ what: `${what}: skipped, where nothing may be`, detail: skipped, replay });
  }
  const row: ProofRow = { what, count: 0, unit: '', failures: failures.length, skipped };
  return { rows: [row], failures };
}
