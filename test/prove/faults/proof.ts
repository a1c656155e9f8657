/**
 * Proves that a storage that fails never makes the engine answer wrongly, lose what it acknowledged, or
 * stop: each call fails once, for a while, or until the engine gives up, at each position of a script.
 */
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { wholeNumber } from '../common/arguments.ts';
import type { Proof, ProofOptions, ProofReport } from '../proof.ts';
import { runTrouble, TROUBLES, type Trouble } from './disks.ts';
import { type Job, STORES } from './lane.ts';
import { Lane } from './lanes.ts';
import { lmdbFaultOf, proveLmdb } from './lmdb.ts';
import { type Campaign, isErrorKind, isMode, placeOf, replay, sweep } from './sweep.ts';

const CAMPAIGNS: readonly Campaign[] = [
  {
    what: 'journal, a call fails once',
    store: 'journal',
    workers: 0,
    modes: ['once'],
    share: 0.17,
  },
  {
    what: 'kubelet, a call fails once',
    store: 'kubelet',
    workers: 0,
    modes: ['once'],
    share: 0.17,
  },
  {
    what: 'journal, calls fail for a while',
    store: 'journal',
    workers: 0,
    modes: ['while', 'dead'],
    share: 0.08,
  },
  {
    what: 'kubelet, calls fail for a while',
    store: 'kubelet',
    workers: 0,
    modes: ['while', 'dead'],
    share: 0.08,
  },
  {
    what: 'journal, in threads',
    store: 'journal',
    workers: 1,
    modes: ['once', 'while', 'dead'],
    share: 0.06,
  },
  {
    what: 'kubelet, in threads',
    store: 'kubelet',
    workers: 2,
    modes: ['once', 'while', 'dead'],
    share: 0.06,
  },
];

/** Of the time. */
const LMDB_SHARE = 0.08;
const LANES_MAX = 8;
/** Flushing costs nothing there, and what a flush is worth is not in question here. */
const MEMORY = '/dev/shm';

export const proof: Proof = {
  name: 'faults',
  what: 'each storage call fails, and no answer is wrong, nothing is lost, nothing stops',
  seconds: 70,
  run,
};

async function run(options: ProofOptions): Promise<ProofReport> {
  const parent = existsSync(MEMORY) ? MEMORY : options.directory;
  const base = mkdtempSync(join(parent, 'pullwarden-faults-'));
  const lanes = Array.from({ length: Math.min(LANES_MAX, availableParallelism()) }, (_, i) => {
    const own = join(base, String(i));
    mkdirSync(own);
    return new Lane(own);
  });
  try {
    const [first, fault] = options.rest;
    if (first === '--lmdb') {
      const only = {
        ...scratch(options),
        seconds: options.seconds,
        fault: lmdbFaultOf(fault ?? ''),
      };
      const { row, failures } = await proveLmdb(only);
      return { rows: [row], failures };
    }
    const asked = askedFor(options.rest);
    if (asked === undefined) return await proveAll(lanes, options);
    const { job, trouble } = asked;
    const { row, failures } =
      trouble === undefined
        ? await replay(lanes[0]!, job, options.seed)
        : await runTrouble(job.store, trouble, scratch(options));
    return { rows: [row], failures };
  } finally {
    for (const lane of lanes) lane.close();
    rmSync(base, { recursive: true, force: true });
  }
}

async function proveAll(lanes: readonly Lane[], options: ProofOptions): Promise<ProofReport> {
  const { seed, seconds, log } = options;
  const rows = [];
  const failures = [];
  for (const campaign of CAMPAIGNS) {
    log(campaign.what);
    const own = { lanes, seed, seconds: seconds * campaign.share, log };
    const report = await sweep(campaign, own);
    rows.push(report.row);
    failures.push(...report.failures);
  }
  for (const store of STORES) {
    for (const trouble of TROUBLES) {
      log(`${store}: ${trouble}`);
      const report = await runTrouble(store, trouble, scratch(options));
      rows.push(report.row);
      failures.push(...report.failures);
    }
  }
  log('lmdb: system calls');
  const lmdb = await proveLmdb({ ...scratch(options), seconds: seconds * LMDB_SHARE });
  rows.push(lmdb.row);
  failures.push(...lmdb.failures);
  return { rows, failures };
}

/** A directory of its own for one trouble. */
function scratch({ directory, seed }: ProofOptions): { directory: string; seed: number } {
  return { directory: mkdtempSync(join(directory, 'disk-')), seed };
}

/** What the arguments ask for: one life, or one trouble of a disk; undefined: all. */
function askedFor(
  args: readonly string[],
): { readonly job: Job; readonly trouble: Trouble | undefined } | undefined {
  if (args.length === 0) return undefined;
  const word = { type: 'string' } as const;
  const { values } = parseArgs({
    args: [...args],
    options: { store: word, workers: word, place: word, error: word, mode: word, disk: word },
  });
  const store = STORES.find((one) => one === values.store);
  const workers = wholeNumber('workers', values.workers) ?? 0;
  const { place: text = 'none', error = 'EIO', mode = 'once' } = values;
  const place = placeOf(text);
  if (store === undefined) throw new Error(`--store must be one of ${STORES.join(', ')}`);
  if (text !== 'none' && place === undefined) throw new Error(`--place ${text} is none`);
  if (!isErrorKind(error)) throw new Error(`--error ${error} is none of the errors`);
  if (!isMode(mode)) throw new Error(`--mode ${mode} is none of the modes`);
  const trouble = TROUBLES.find((one) => one === values.disk);
  if (values.disk !== undefined && trouble === undefined) {
    throw new Error(`--disk must be one of ${TROUBLES.join(', ')}`);
  }
  return { job: { store, workers, fault: place && { place, error, mode } }, trouble };
}
