/** The live line of a storm. */

import { formatCount, formatMs, formatNs, formatShare } from '../../terminal/format.ts';
import { LiveLine, type Terminal } from '../../terminal/live-line.ts';
import type { Progress } from '../run.ts';

const INTERVAL_MS = 1_000;

/** Shows how far a storm is, at once and then once a second. */
export class ProgressLine {
  readonly #line: LiveLine;
  #shownMs = Number.NEGATIVE_INFINITY;
  #operations = 0;

  /** @param terminal - undefined: nothing is ever shown. */
  constructor(terminal: Terminal | undefined) {
    this.#line = new LiveLine(terminal, { delayMs: 0, intervalMs: INTERVAL_MS });
  }

  update(progress: Progress): void {
    this.#line.update((nowMs) => {
      const { operations } = progress.state.counts;
      const recent = Math.max(0, operations - this.#operations);
      const perSecond = (recent / (nowMs - this.#shownMs)) * 1_000;
      this.#shownMs = nowMs;
      this.#operations = operations;
      return progressText(progress, perSecond);
    });
  }

  /** Removes the line. */
  clear(): void {
    this.#line.clear();
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
