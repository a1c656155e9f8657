/** The live line of a storm. */

import { formatCount, formatMs, formatNs, formatShare } from '../../terminal/format.ts';
import { LiveLine, type Terminal } from '../../terminal/live-line.ts';
import type { Progress } from '../progress.ts';

const INTERVAL_MS = 1_000;

/** Shows how far a storm is, at once and then once a second. */
export class ProgressLine {
  readonly #line: LiveLine;

  /** @param terminal - undefined: nothing is ever shown. */
  constructor(terminal: Terminal | undefined) {
    this.#line = new LiveLine(terminal, { delayMs: 0, intervalMs: INTERVAL_MS });
  }

  update(progress: Progress): void {
    this.#line.update(() => progressText(progress));
  }

  /** Removes the line. */
  clear(): void {
    this.#line.clear();
  }
}

/** What the line says. */
export function progressText(progress: Progress): string {
  const { phase, elapsedMs, share, leftMs } = progress;
  if (phase === 'filling') return `${formatMs(elapsedMs)}  filling the store`;
  if (phase === 'checking') return `${formatMs(elapsedMs)}  checking what is stored`;
  const parts = [
    formatMs(elapsedMs),
    `${formatCount(progress.operationsPerSecond)} ops/s`,
    `decide p99 ${formatNs(progress.decideNs.p99)}`,
    `${formatCount(progress.wrong)} wrong`,
    formatShare(Math.round(share * 100) / 100),
  ];
  if (leftMs !== undefined && leftMs > 0) parts.push(`${formatMs(leftMs)} left`);
  return parts.join('  ');
}
