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

/** The last line of the run. */
export function lastLine(reports: readonly ProofReport[]): string {
  const rows = reports.flatMap((report) => report.rows);
  const failed = reports.reduce((sum, { failures }) => sum + failures.length, 0);
  const skipped = rows.filter((row) => row.skipped !== undefined).length;
  const left = skipped === 0 ? '' : `; ${skipped} ${skipped === 1 ? 'row' : 'rows'} skipped`;
  if (failed > 0) return `FAILED: ${failed}${left}`;
  return `${rows.some(({ count }) => count > 0) ? 'NOTHING FOUND' : 'NOTHING DONE'}${left}`;
}
