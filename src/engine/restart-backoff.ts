/** How long after its death a worker is started again. */

const PAUSE_MS_MIN = 10;
const PAUSE_MS_MAX = 30_000;
/** A worker that ran this long, and longer than it took to start, died of something new. */
const HEALTHY_MS = 1_000;

/**
 * Of one worker. At once, where it has run for a while: its stripes must not wait for it because it has
 * died before. One that dies again and again with little or nothing done waits for 10 ms, doubled each time
 * up to 30 s, so that starting it does not take all the time of a processor.
 */
export class RestartBackoff {
  /** Deaths in a row. */
  #deaths = 0;

  /**
   * The pause after a death, in milliseconds.
   *
   * @param startUpMs - how long it took to start.
   * @param ranMs - how long it ran then, in milliseconds; 0 where it never did.
   */
  died(startUpMs: number, ranMs: number): number {
    const wasHealthy = ranMs >= Math.max(HEALTHY_MS, startUpMs);
    this.#deaths = wasHealthy ? 1 : this.#deaths + 1;
    return this.#deaths === 1 ? 0 : Math.min(PAUSE_MS_MAX, PAUSE_MS_MIN * 2 ** (this.#deaths - 2));
  }
}
