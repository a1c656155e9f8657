/**
 * Sequential measurement with tinybench: one call after the other, for work that blocks or that is
 * too short for a loop of promises.
 */
import { Bench } from 'tinybench';
import { type LoopResult, latencyOf, median } from './closed-loop.ts';

/** What to run. */
export interface SequentialOptions {
  /** Operations in one call of the function: short ones are repeated inside. @default 1 */
  readonly operationsPerCall?: number;
  /** Measured time of one sample, in milliseconds. @default 500 */
  readonly timeMs?: number;
  /** @default 5 */
  readonly samples?: number;
}

const NS_PER_MS = 1e6;

/**
 * Measures a synchronous function, which must throw on a wrong answer. Latencies are of one
 * operation: with several in a call they are the mean of that call.
 */
export function sequential(name: string, call: () => void, options: SequentialOptions): LoopResult {
  const { operationsPerCall = 1, timeMs = 500, samples: sampleCount = 5 } = options;
  const samples: number[] = [];
  const latencies: number[] = [];
  let calls = 0;
  for (let i = 0; i < sampleCount; i++) {
    const bench = new Bench({
      time: timeMs,
      warmup: i === 0,
      warmupTime: timeMs / 2,
      retainSamples: true,
      throws: true,
    });
    const task = bench.add(name, call).runSync()[0];
    const result = task?.result;
    if (result?.state !== 'completed') throw new Error(`${name}: ended as ${result?.state}`);
    const callsMs = result.latency.samples ?? [];
    samples.push(operationsPerCall / (result.latency.mean / 1000));
    for (const ms of callsMs) latencies.push((ms * NS_PER_MS) / operationsPerCall);
    calls += callsMs.length;
  }
  return {
    operationsPerSecond: median(samples),
    samples,
    operations: calls * operationsPerCall,
    latencyNs: latencyOf(latencies),
  };
}
