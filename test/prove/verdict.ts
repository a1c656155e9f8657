/** What a run of proofs comes to: random tests that find nothing prove nothing. */
import type { ProofFailure, ProofReport } from './proof.ts';

/** The report itself, or one that fails where nothing was done and nothing says why. */
export function checkedReport(report: ProofReport, replay: string): ProofReport {
  const { rows, failures } = report;
  const says = rows.some(({ count, skipped }) => count > 0 || skipped !== undefined);
  if (says || failures.length > 0) return report;
  const failure: ProofFailure = {
    what: 'nothing was done',
    detail: 'no row counts anything, and none says why',
    replay,
  };
  return { rows, failures: [failure] };
}

/** Failures of one proof that are told again at the end of a run. */
const TOLD_MAX = 5;

/**
 * The last lines of the run: what failed and the commands that show it again, for those who see no more
 * of a long log than its end; then the verdict.
 */
export function summaryOf(reports: readonly ProofReport[]): string[] {
  const told = reports.flatMap(({ failures }) => failures.slice(0, TOLD_MAX));
  const lines = told.flatMap(({ what, replay }) => [`failed: ${what}`, `  again: ${replay}`]);
  return [...lines, verdictOf(reports)];
}

function verdictOf(reports: readonly ProofReport[]): string {
  const rows = reports.flatMap((report) => report.rows);
  const failed = reports.reduce((sum, { failures }) => sum + failures.length, 0);
  const skipped = rows.filter((row) => row.skipped !== undefined).length;
  const left = skipped === 0 ? '' : `; ${skipped} ${skipped === 1 ? 'row' : 'rows'} skipped`;
  if (failed > 0) return `FAILED: ${failed}${left}`;
  return `${rows.some(({ count }) => count > 0) ? 'NOTHING FOUND' : 'NOTHING DONE'}${left}`;
}
