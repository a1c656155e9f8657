/**
 * Which blocks of some modules ran, by V8's precise coverage.
 *
 * Taking it looks at every function of the thread and costs milliseconds, so it is taken for many
 * inputs at once, and for each of them apart only where one of them reached something new.
 *
 * Begin it before the modules are loaded: what was compiled earlier counts as one block a function.
 */
import { type Profiler, Session } from 'node:inspector';

export class Coverage implements Disposable {
  readonly #session = new Session();
  #modules: readonly string[] = [];
  readonly #seen = new Set<string>();

  constructor() {
    this.#session.connect();
    this.#session.post('Profiler.enable');
    this.#session.post('Profiler.startPreciseCoverage', { callCount: true, detailed: true });
  }

  /** Says which modules count, by parts of their addresses. */
  watch(modules: readonly string[]): void {
    this.#modules = modules;
  }

  get blockCount(): number {
    return this.#seen.size;
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
        for (const { ranges } of functions) blocksOf(ranges, (start) => onBlock(`${url}:${start}`));
      }
    });
  }

  /** From here on nothing is counted, which is faster. */
  stop(): void {
    this.#session.post('Profiler.stopPreciseCoverage');
  }

  [Symbol.dispose](): void {
    this.stop();
    this.#session.disconnect();
  }
}

/**
 * V8 leaves out blocks that ran as often as what they are in: what shows that one ran is the end of
 * another before it that did not. So blocks are told by where they begin.
 */
function blocksOf(
  ranges: readonly Profiler.CoverageRange[],
  onBlock: (start: number) => void,
): void {
  const starts = new Set(ranges.map(({ startOffset }) => startOffset));
  const around: Profiler.CoverageRange[] = [];
  for (const range of ranges) {
    while (around.length > 0 && around.at(-1)!.endOffset <= range.startOffset) around.pop();
    const { startOffset, endOffset, count } = range;
    const outer = around.at(-1);
    if (count > 0) onBlock(startOffset);
    const goesOn = outer !== undefined && outer.count > 0 && endOffset < outer.endOffset;
    if (goesOn && !starts.has(endOffset)) onBlock(endOffset);
    around.push(range);
  }
}
