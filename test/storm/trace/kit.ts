/** Traces of storms, and replays of them, both against the engine of the storm's own tests. */
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import { parseImageList } from '../../../src/storm/image-list.ts';
import { Ledger } from '../../../src/storm/ledger.ts';
import { checkIntents, checkRecords } from '../../../src/storm/listing-check.ts';
import type { StormParameters } from '../../../src/storm/parameters.ts';
import { Recorder } from '../../../src/storm/recorder.ts';
import { Replay, slotsOf } from '../../../src/storm/replay/replay.ts';
import { fillFromTrace } from '../../../src/storm/replay/replay-fill.ts';
import { TraceUniverse } from '../../../src/storm/replay/trace-universe.ts';
import { runStorm } from '../../../src/storm/run.ts';
import { builtInScenario } from '../../../src/storm/scenarios.ts';
import { StormState } from '../../../src/storm/state.ts';
import { Verifier } from '../../../src/storm/verifier.ts';
import { parseTrace, readTrace, type Trace } from '../../../src/trace/read-trace.ts';
import { type RecordTraceOptions, recordTrace } from '../../../src/trace/record-trace.ts';
import { type Bug, ConcurrentModel } from '../concurrent-model.ts';

const IMAGES = parseImageList(
  Array.from({ length: 12 }, (_, i) => `docker.io/library/app-${i}\t1 1.0 2 2.0 latest`).join('\n'),
  'test',
);
const POLICY = { kind: 'NeverVerifyPreloadedImages' } as const;
const BEHAVIOUR = KUBELET_BEHAVIOUR['v1.35'];

async function* bytes(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}

/** The trace that has these lines. */
export function parse(...lines: readonly string[]): Promise<Trace> {
  return parseTrace(bytes(lines.join('\n')), 'trace.jsonl');
}

/** A directory that goes with the test. */
export async function newDirectory(): Promise<string> {
  const directory = await mkdtemp(join(tmpdir(), 'pullwarden-trace-'));
  onTestFinished(() => rm(directory, { recursive: true, force: true }));
  return directory;
}

/** Records a storm on a model that is right; answers the path of the trace. */
export async function recordStorm(
  seed: number,
  options: Partial<RecordTraceOptions> & { readonly storm?: Partial<StormParameters> } = {},
): Promise<string> {
  const { storm, ...recording } = options;
  const path = join(await newDirectory(), 'trace.jsonl');
  const ends: (() => Promise<void>)[] = [];
  const run = await runStorm({
    scenario: 'mixed',
    parameters: {
      ...builtInScenario('mixed').parameters,
      rate: undefined,
      concurrency: 64,
      stages: [],
      duration: undefined,
      operations: 3_000,
      tenants: 40,
      records: undefined,
      rotateEvery: 30 * 64,
      restarts: 0,
      prunings: 4,
      prunedShare: 0.3,
      ...storm,
      seed,
    },
    images: IMAGES,
    isDurable: false,
    open: async (images, policy) => {
      const engine = new ConcurrentModel({ seed, policy, disk: { model: undefined }, images });
      const recorded = await recordTrace(engine as unknown as Parameters<typeof recordTrace>[0], {
        path,
        ...recording,
      });
      ends.push(() => recorded.close());
      return recorded.manager as unknown as ConcurrentModel;
    },
  });
  run.close();
  for (const end of ends) await end();
  return path;
}

/** What became of a trace's operations. */
export interface Replayed {
  readonly started: number;
  readonly scheduled: number;
  readonly unplayable: number;
}

/** Plays a trace, as fast as it goes unless said otherwise, and compares what is left. */
export async function play(
  trace: Trace | string,
  options: { readonly seed?: number; readonly bug?: Bug; readonly speed?: number } = {},
): Promise<{
  state: StormState<TraceUniverse>;
  replayed: Replayed;
  left: number;
  universe: TraceUniverse;
}> {
  const { seed = 1, bug, speed = 1_000 } = options;
  const read = typeof trace === 'string' ? await readTrace(trace) : trace;
  const universe = new TraceUniverse(read, BEHAVIOUR);
  const ledger = new Ledger(universe);
  const callersMax = 64;
  const verifier = new Verifier(ledger, POLICY, slotsOf(read, callersMax), BEHAVIOUR);
  const recorder = new Recorder();
  const disk = { model: undefined };
  const engine = new ConcurrentModel({ seed, policy: POLICY, bug, disk, images: [] });
  const state = new StormState({ universe, ledger, verifier, shapes: [], recorder, engine });
  const lags: number[] = [];
  const meter = {
    record: recorder.record.bind(recorder),
    recordService: () => {},
    recordLag: (ms: number) => void lags.push(ms),
  };
  const context = { state, universe, meter };
  const left = await fillFromTrace(read, context);
  const replay = new Replay(read, context, { speed, callersMax });
  await replay.run(performance.now());
  const replayed = {
    started: replay.startedCount,
    scheduled: replay.scheduledUntil(Number.POSITIVE_INFINITY),
    unplayable: replay.unplayableCount,
  };
  const open = verifier.beginRead();
  const intents = await engine.listImagePullIntents();
  const records = await engine.listImagePulledRecords();
  const texts = intents.records.map(({ image }) => image);
  state.keepProblems(checkIntents(ledger, texts));
  state.keepProblems(checkRecords(ledger, records.records, open));
  recorder.close();
  return { state, replayed, left, universe };
}
