/** What a storm costs the machine: processors, memory, and how late the event loop comes round. */
import { readFileSync } from 'node:fs';
import { type IntervalHistogram, monitorEventLoopDelay } from 'node:perf_hooks';
import type { Quantiles } from './result-schema.ts';

/** How often the event loop is looked at. What it is late beyond that is its delay. */
const LOOK_MS = 10;
const LOOK_NS = LOOK_MS * 1e6;
/** Clock ticks a second in which Linux counts processor time for programs; the same everywhere. */
const TICKS_PER_SECOND = 100;

/** Figures of one interval. */
export interface ProbedInterval {
  readonly eventLoopDelayP99Ns: number;
  /** Processor time; main is undefined where the system does not tell. */
  readonly cpuMainMs: number | undefined;
  readonly cpuAllMs: number;
  readonly rssBytes: number;
  readonly heapUsedBytes: number;
}

/** Figures of all intervals together. */
export interface ProbedTotal {
  readonly eventLoopDelayNs: Quantiles;
  readonly cpuMainMs: number | undefined;
  readonly cpuAllMs: number;
  readonly rssMaxBytes: number;
  readonly heapUsedMaxBytes: number;
}

/** Measures from its making on; `end` stops it. */
export class Probes {
  readonly #ofInterval: IntervalHistogram = monitorEventLoopDelay({ resolution: LOOK_MS });
  readonly #ofAll: IntervalHistogram = monitorEventLoopDelay({ resolution: LOOK_MS });
  readonly #begun = processorTimes();
  #last: ProcessorTimes = this.#begun;
  #rssMaxBytes = 0;
  #heapUsedMaxBytes = 0;

  constructor() {
    this.#ofInterval.enable();
    this.#ofAll.enable();
  }

  /** Ends an interval and begins the next. */
  interval(): ProbedInterval {
    const now = processorTimes();
    const { rss, heapUsed } = process.memoryUsage();
    const last = this.#last;
    this.#last = now;
    this.#rssMaxBytes = Math.max(this.#rssMaxBytes, rss);
    this.#heapUsedMaxBytes = Math.max(this.#heapUsedMaxBytes, heapUsed);
    const { count } = this.#ofInterval;
    const p99 = count === 0 ? 0 : this.#ofInterval.percentile(99);
    this.#ofInterval.reset();
    return {
      eventLoopDelayP99Ns: Math.max(0, p99 - LOOK_NS),
      cpuMainMs: difference(now.mainMs, last.mainMs),
      cpuAllMs: now.allMs - last.allMs,
      rssBytes: rss,
      heapUsedBytes: heapUsed,
    };
  }

  end(): ProbedTotal {
    this.interval();
    this.#ofInterval.disable();
    this.#ofAll.disable();
    return {
      eventLoopDelayNs: delays(this.#ofAll),
      cpuMainMs: difference(this.#last.mainMs, this.#begun.mainMs),
      cpuAllMs: this.#last.allMs - this.#begun.allMs,
      rssMaxBytes: this.#rssMaxBytes,
      heapUsedMaxBytes: this.#heapUsedMaxBytes,
    };
  }
}

function delays(source: IntervalHistogram): Quantiles {
  const { count } = source;
  const late = (ns: number): number => (count === 0 ? 0 : Math.max(0, Math.round(ns - LOOK_NS)));
  const at = (percentile: number): number => late(source.percentile(percentile));
  return {
    count,
    mean: late(source.mean),
    p50: at(50),
    p90: at(90),
    p99: at(99),
    p999: at(99.9),
    p9999: at(99.99),
    max: late(source.max),
  };
}

interface ProcessorTimes {
  readonly mainMs: number | undefined;
  readonly allMs: number;
}

function processorTimes(): ProcessorTimes {
  const { user, system } = process.cpuUsage();
  return { mainMs: mainThreadMs(), allMs: (user + system) / 1_000 };
}

/** Processor time of the main thread, which has the number of the process. */
function mainThreadMs(): number | undefined {
  if (process.platform !== 'linux') return undefined;
  try {
    const text = readFileSync(`/proc/self/task/${process.pid}/stat`, 'utf8');
    // The second field is a name in brackets, which may hold anything.
    const fields = text.slice(text.lastIndexOf(')') + 2).split(' ');
    const ticks = Number(fields[11]) + Number(fields[12]);
    return Number.isFinite(ticks) ? (ticks / TICKS_PER_SECOND) * 1_000 : undefined;
  } catch {
    return undefined;
  }
}

function difference(now: number | undefined, before: number | undefined): number | undefined {
  return now === undefined || before === undefined ? undefined : now - before;
}
