/** The live line of a storm: rewritten in place on a terminal, absent elsewhere. */
import type { Progress } from '../run.ts';
import { formatCount, formatMs, formatNs, formatShare } from './format.ts';

/** The part of a terminal that is written to. */
export interface Terminal {
  readonly columns?: number | undefined;
  write(text: string): unknown;
}

const INTERVAL_MS = 1_000;
const ERASE_LINE = '\r\u001b[2K';
const COLUMNS_DEFAULT = 80;

/** Shows how far a storm is, once a second. */
export class ProgressLine {
  readonly #terminal: Terminal;
  #shownMs = Number.NEGATIVE_INFINITY;
  #operations = 0;
  #isShown = false;

  constructor(terminal: Terminal) {
    this.#terminal = terminal;
  }

  update(progress: Progress): void {
    const nowMs = performance.now();
    const sinceMs = nowMs - this.#shownMs;
    if (sinceMs < INTERVAL_MS) return;
    const { operations } = progress.state.counts;
    const recent = Math.max(0, operations - this.#operations);
    const perSecond = Number.isFinite(sinceMs) ? (recent / sinceMs) * 1_000 : 0;
    this.#shownMs = nowMs;
    this.#operations = operations;
    this.#isShown = true;
    // The last column stays empty: some terminals break the line there.
    const width = (this.#terminal.columns || COLUMNS_DEFAULT) - 1;
    this.#terminal.write(ERASE_LINE + progressText(progress, perSecond).slice(0, width));
  }

  /** Removes the line. */
  clear(): void {
    if (this.#isShown) this.#terminal.write(ERASE_LINE);
    this.#isShown = false;
  }
}

/** What the line says. */
export function progressText(progress: Progress, operationsPerSecond: number): string {
  const { phase, elapsedMs, share, state } = progress;
  if (phase === 'filling') return `${formatMs(elapsedMs)}  filling the store`;
  if (phase === 'checking') return `${formatMs(elapsedMs)}  checking what is stored`;
  const { wrongDecisions, wrongRecords } = state.counts;
  const parts = [
    formatMs(elapsedMs),
    `${formatCount(operationsPerSecond)} ops/s`,
    `decide p99 ${formatNs(state.recorder.latencyNs('decide').p99)}`,
    `${formatCount(wrongDecisions + wrongRecords)} wrong`,
    formatShare(Math.round(share * 100) / 100),
  ];
  if (share > 0.01 && share < 1) {
    parts.push(`${formatMs((elapsedMs / share) * (1 - share))} left`);
  }
  return parts.join('  ');
}
