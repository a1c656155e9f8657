/** The points of each store: every call that changes its files, before, within and after. */
import { extname } from 'node:path';
import type { Arming } from '../life-process.ts';
import { KILL_ORDER, type KillOrder } from './order.ts';

/** A moment at which a process can be made to end. */
export interface Point {
  readonly name: string;
  /** Only the first start of a store comes to it. */
  readonly isFirstStart: boolean;
  /** Only a start with another number of workers comes to it. */
  readonly changesLayout: boolean;
  /** A life under load comes to it again and again; to the others once, if at all. */
  readonly isRepeated: boolean;
  /** The program `strace` ends the process, which knows all system calls. */
  readonly isTraced: boolean;
  /** What only a start after a certain death does is done after a kill at this point. */
  readonly prelude: Point | undefined;
  readonly arm: (place: PointPlace) => Arming;
}

/** Where and when. */
export type PointPlace = Pick<KillOrder, 'root' | 'count' | 'reportPath'>;

const LOCK = ['write lock', 'link lock', 'remove lock', 'rename lock'];
const FIRST_START = /^after make /;
const CHANGED_LAYOUT = / manifest$/;
/** Made for a few writes, or for a part of a snapshot. */
const REPEATED =
  /(write|flush) (segment|log)$|write (snapshot|redo segment)$|(write|rename) new file$/;
/** Written whole or not at all: they are renamed or linked into place. */
const SMALL = /^write (lock|manifest)$/;

/** Calls that go through `node:fs`. */
const CALLS: Readonly<Record<string, readonly string[]>> = {
  journal: [
    ...LOCK,
    'make directory',
    'flush directory',
    'write manifest',
    'flush manifest',
    'rename manifest',
    'write new segment',
    'flush new segment',
    'rename new segment',
    'remove new segment',
    'write segment',
    'flush segment',
    'remove segment',
    'write snapshot',
    'flush snapshot',
    'rename snapshot',
    'remove snapshot',
  ],
  kubelet: [
    ...LOCK,
    'make directory',
    'flush directory',
    'make directory of intents',
    'make directory of records',
    'make directory of new files',
    'make redo directory',
    'write new redo segment',
    'flush new redo segment',
    'rename new redo segment',
    'remove new redo segment',
    'write redo segment',
    'remove redo segment',
    'flush redo directory',
    'write new file',
    'flush new file',
    'rename new file',
    'remove new file',
    'remove intent',
    'remove record',
    'flush directory of intents',
    'flush directory of records',
    'remove directory of new files',
    'remove redo directory',
  ],
  lmdb: [...LOCK, 'make directory'],
  // The one that tests use: test/fixtures/stores/log-store.mjs.
  module: ['write log', 'flush log'],
};
/** Where a life has to end so that the next one makes the call. */
const PRELUDES: Readonly<Record<string, string>> = {
  'rename lock': 'after link lock',
  'remove new segment': 'before rename new segment',
  'remove new redo segment': 'before rename new redo segment',
  'remove new file': 'before rename new file',
};
/** System calls on the data file of LMDB, which is native. */
const TRACED_CALLS: Readonly<Record<string, readonly string[]>> = {
  lmdb: ['pwrite64', 'writev', 'fdatasync'],
};
const TRACED_FILE = 'data.mdb';
const KILLER = new URL(`./kill-at-point${extname(import.meta.url)}`, import.meta.url).href;

/** All points of a store. */
export function pointsOf(store: string): Point[] {
  const kind = store.replace(/:.*/, '');
  const points = (CALLS[kind] ?? []).flatMap((call) => {
    const before = PRELUDES[call];
    const prelude = before === undefined ? undefined : callPoint(before, undefined);
    return namesOf(call).map((name) => callPoint(name, prelude));
  });
  return [...points, ...(TRACED_CALLS[kind] ?? []).map(tracedPoint)];
}

function namesOf(call: string): string[] {
  const isHalved = call.startsWith('write ') && !SMALL.test(call);
  const moments = isHalved ? ['before', 'halfway', 'after'] : ['before', 'after'];
  return moments.map((moment) => `${moment} ${call}`);
}

function callPoint(name: string, prelude: Point | undefined): Point {
  const arm = (place: PointPlace): Arming => {
    const order: KillOrder = { ...place, point: name };
    return {
      wrapper: [],
      nodeArgs: ['--import', KILLER],
      env: { [KILL_ORDER]: JSON.stringify(order) },
    };
  };
  const isFirstStart = FIRST_START.test(name);
  const changesLayout = CHANGED_LAYOUT.test(name);
  const isRepeated = REPEATED.test(name);
  return { name, isFirstStart, changesLayout, isRepeated, isTraced: false, prelude, arm };
}

/** Counts are by thread, and the call is not made any more. */
function tracedPoint(call: string): Point {
  const arm = ({ root, count }: PointPlace): Arming => {
    const file = `${root}/${TRACED_FILE}`;
    const killing = `inject=${call}:signal=KILL:when=${count}`;
    // Not with --seccomp-bpf: it only ever counts to one.
    const quietly = ['-f', '-qqq', '-o', '/dev/null'];
    const wrapper = ['strace', ...quietly, '-P', file, '-e', `trace=${call}`, '-e', killing];
    return { wrapper, nodeArgs: [], env: {} };
  };
  const name = `before ${call} ${TRACED_FILE}`;
  const start = { isFirstStart: false, changesLayout: false, prelude: undefined };
  return { name, ...start, isRepeated: true, isTraced: true, arm };
}
