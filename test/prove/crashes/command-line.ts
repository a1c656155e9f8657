/** What the proofs that kill and cut have in common in their arguments and rows. */
import type { ProofFailure, ProofReport, ProofRow } from '../proof.ts';

/** Set to 1 where everything has to be there: what cannot be done is then a failure. */
const IS_REQUIRED: boolean = process.env.PULLWARDEN_REQUIRE_REAL === '1';

/** A store in a word. */
export function nameOf(store: string): string {
  return store.startsWith('module:') ? 'module' : store;
}

export function wholeNumber(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (/^\d+$/.test(text)) return Number(text);
  throw new Error(`--${flag} must be a whole number, not ${text}`);
}

/** A row that says why nothing was done, which is a failure where everything has to be there. */
export function skippedReport(
  proof: string,
  what: string,
  skipped: string,
  isRequired: boolean = IS_REQUIRED,
): ProofReport {
  const failures: ProofFailure[] = [];
  if (isRequired) {
    const replay = `PULLWARDEN_REQUIRE_REAL=1 npm run prove -- ${proof}`;
    failures.push({ what: `${what}: skipped, where nothing may be`, detail: skipped, replay });
  }
  const row: ProofRow = { what, count: 0, unit: '', failures: failures.length, skipped };
  return { rows: [row], failures };
}
