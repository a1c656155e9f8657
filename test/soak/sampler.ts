/** What a process uses, sampled now and then: memory, file descriptors, threads, bytes of its store. */
import { readdirSync, statSync } from 'node:fs';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import type { Series } from './flatness.ts';

const MIB = 1024 * 1024;

/** What is sampled, and growth of it that is noise. */
const FIGURES = {
  'heap used': { unit: 'bytes', noise: 4 * MIB, holdsCaches: true },
  'memory (RSS)': { unit: 'bytes', noise: 24 * MIB, holdsCaches: true },
  'outside the heap': { unit: 'bytes', noise: 2 * MIB },
  'file descriptors': { unit: 'count', noise: 3 },
  threads: { unit: 'count', noise: 1 },
  // A store grows until it is compacted, and a segment is made before it is needed.
  'bytes of the store': { unit: 'bytes', noise: 48 * MIB },
  records: { unit: 'count' },
  // What the last prunings should have removed; more come between two of them where the machine is quick.
  'records too many': { unit: 'count', noise: 200 },
  intents: { unit: 'count', noise: 100 },
  'operations/s': { unit: 'perSecond' },
  'decide p99': { unit: 'ns' },
} as const satisfies Record<string, Omit<Series, 'name' | 'values'>>;

/** Figures that only the load knows. */
export interface LoadFigures {
  readonly records: number;
  readonly recordsTooMany: number;
  readonly intents: number;
  readonly operationsPerSecond: number;
  readonly decideP99Ns: number;
}

/** Keeps samples; Linux only, since it reads `/proc`. */
export class Sampler {
  readonly #directory: string;
  readonly #collectGarbage: () => void;
  readonly #values = new Map<string, number[]>(Object.keys(FIGURES).map((name) => [name, []]));
  /** Seconds since the start, of each sample. */
  readonly atSeconds: number[] = [];
  readonly #startedMs = performance.now();

  /** @param directory The store's. */
  constructor(directory: string) {
    this.#directory = directory;
    setFlagsFromString('--expose-gc');
    this.#collectGarbage = runInNewContext('gc') as () => void;
  }

  sample(load: LoadFigures): void {
    // What is garbage is no growth.
    this.#collectGarbage();
    const { rss, heapUsed, external, arrayBuffers } = process.memoryUsage();
    this.atSeconds.push((performance.now() - this.#startedMs) / 1_000);
    const sampled: Record<keyof typeof FIGURES, number> = {
      'heap used': heapUsed,
      'memory (RSS)': rss,
      'outside the heap': external + arrayBuffers,
      'file descriptors': readdirSync('/proc/self/fd').length,
      threads: readdirSync('/proc/self/task').length,
      'bytes of the store': bytesBelow(this.#directory),
      records: load.records,
      'records too many': load.recordsTooMany,
      intents: load.intents,
      'operations/s': load.operationsPerSecond,
      'decide p99': load.decideP99Ns,
    };
    for (const [name, value] of Object.entries(sampled)) this.#values.get(name)!.push(value);
  }

  series(): Series[] {
    return Object.entries(FIGURES).map(([name, figure]) => ({
      name,
      ...figure,
      values: this.#values.get(name)!,
    }));
  }
}

/** Bytes on disk of all files below a directory; files that vanish meanwhile count as none. */
function bytesBelow(directory: string): number {
  let bytes = 0;
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    if (!entry.isFile()) continue;
    const stats = statSync(join(entry.parentPath, entry.name), { throwIfNoEntry: false });
    bytes += (stats?.blocks ?? 0) * 512;
  }
  return bytes;
}
