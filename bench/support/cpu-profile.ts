/** What `node --cpu-prof` wrote: the functions that took most of the time of each thread. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';

interface ProfileNode {
  readonly id: number;
  readonly callFrame: { readonly functionName: string; readonly url: string };
}

interface CpuProfile {
  readonly nodes: readonly ProfileNode[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** A function of the profile; its own time, without that of what it calls. */
export interface ProfiledFunction {
  readonly name: string;
  /** File in the project, package, or `node:` module; empty for what the runtime does itself. */
  readonly file: string;
  /** Of the time of the thread. */
  readonly selfShare: number;
}

/** One thread of the process. */
export interface ProfiledThread {
  /** 0 is the main thread. */
  readonly threadId: number;
  readonly seconds: number;
  /** The thread had nothing to do; not among the functions. */
  readonly idleShare: number;
  readonly functions: readonly ProfiledFunction[];
}

const FILE_NAME = /^CPU\.\d+\.\d+\.\d+\.(\d+)\.\d+\.cpuprofile$/;
const IDLE = '(idle)';

/** The threads of the profiles in a directory, main thread first; functions by time, most first. */
export function readProfiles(directory: string): ProfiledThread[] {
  return readdirSync(directory)
    .map((name) => ({ name, threadId: Number(FILE_NAME.exec(name)?.[1]) }))
    .filter(({ threadId }) => !Number.isNaN(threadId))
    .sort((a, b) => a.threadId - b.threadId)
    .map(({ name, threadId }) => summarize(threadId, readProfile(join(directory, name))));
}

function readProfile(path: string): CpuProfile {
  return JSON.parse(readFileSync(path, 'utf8'));
}

function summarize(threadId: number, profile: CpuProfile): ProfiledThread {
  const keyOf = new Map<number, string>();
  for (const { id, callFrame } of profile.nodes) {
    keyOf.set(id, `${callFrame.functionName || '(anonymous)'}\n${fileOf(callFrame.url)}`);
  }
  const selfUs = new Map<string, number>();
  let totalUs = 0;
  for (const [i, sample] of profile.samples.entries()) {
    // The time between a sample and the next one is the sample's.
    const deltaUs = profile.timeDeltas[i + 1] ?? 0;
    const key = keyOf.get(sample)!;
    selfUs.set(key, (selfUs.get(key) ?? 0) + deltaUs);
    totalUs += deltaUs;
  }
  const functions = Array.from(selfUs, ([key, us]): ProfiledFunction => {
    const [name = '', file = ''] = key.split('\n');
    return { name, file, selfShare: us / totalUs };
  }).sort((a, b) => b.selfShare - a.selfShare);
  const idle = functions.find(({ name }) => name === IDLE);
  return {
    threadId,
    seconds: totalUs / 1e6,
    idleShare: idle?.selfShare ?? 0,
    functions: functions.filter((entry) => entry !== idle),
  };
}

/** `src/engine/decider.ts`, `msgpackr`, `node:fs`. */
function fileOf(url: string): string {
  const inPackage = /.*\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url);
  if (inPackage !== null) return inPackage[1]!;
  const inBuild = /\/build\/(.+)\.js$/.exec(url);
  return inBuild === null ? url : `${inBuild[1]}.ts`;
}
