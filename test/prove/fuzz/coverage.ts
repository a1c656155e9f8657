/**
 * Which blocks of some modules ran, by V8's precise coverage.
 *
 * Taking it looks at every function of the thread and costs milliseconds, so it is taken for many
 * inputs at once, and for each of them apart only where one of them reached something new.
 */
import { type Profiler, Session } from 'node:inspector';

export class Coverage implements Disposable {
  readonly #session = new Session();
  readonly #modules: readonly string[];
  readonly #seen = new Set<string>();

  /** @param modules Parts of the addresses of modules. */
  constructor(modules: readonly string[]) {
    this.#modules = modules;
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  get blockCount(): number {
    return this.#seen.size;
  }

  /** Forgets what ran since the last look. */
  skip(): void {
    this.#take(() => {});
  }

  /** Whether something ran since the last look that never had; `keeps`: and counts from now on as seen. */
  isNew(keeps: boolean): boolean {
    let isNew = false;
    this.#take((block) => {
      if (this.#seen.has(block)) return;
      isNew = true;
      if (keeps) this.#seen.add(block);
    });
    return isNew;
  }

  #take(onBlock: (block: string) => void): void {
    // Within one thread the answer comes before the call returns.
    this.#session.post('Profiler.takePreciseCoverage', (_, taken) => {
      for (const { url, functions } of taken.result) {
        if (!this.#modules.some((module) => url.includes(module))) continue;
        for (const { ranges } of functions) for (const range of ranges) ranOf(url, range, onBlock);
      }
    });
  }

  [Symbol.dispose](): void {
    this.#session.post('Profiler.stopPreciseCoverage');
    this.#session.disconnect();
  }
}

function ranOf(
  url: string,
  { startOffset, endOffset, count }: Profiler.CoverageRange,
  onBlock: (block: string) => void,
): void {
  if (count > 0) onBlock(`${url}:${startOffset}-${endOffset}`);
}
