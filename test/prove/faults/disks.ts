/** Real file systems that are full, take no new files, or die under load; descriptors that run out. */
import { spawnSync } from 'node:child_process';
import { mkdirSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { storeOptions } from '../../../src/accessors/store-location.ts';
import { runProgram } from '../common/programs.ts';
import { skippedReport } from '../common/skipped.ts';
import type { ProofFailure, ProofRow } from '../proof.ts';
import type { StoreKind } from './lane.ts';
import { type LoadReport, loadThrough } from './load.ts';

/** What befalls the storage. */
export const TROUBLES = ['full', 'frozen', 'dead', 'no descriptors'] as const;
export type Trouble = (typeof TROUBLES)[number];

export interface TroubleReport {
  readonly row: ProofRow;
  readonly failures: readonly ProofFailure[];
}

const DISK_BYTES = 16 * 1024 * 1024;
/** Enough for a program whose files are loaded side by side; it takes what is left. */
const DESCRIPTORS = 1_024;
const CHILD_LIMIT_MS = 120_000;
const WHAT: Readonly<Record<Trouble, string>> = {
  full: 'a full disk, then room',
  frozen: 'directories that take no new files, then do',
  dead: 'a disk that dies, then a new life',
  'no descriptors': 'no descriptors, then some',
};

export function runTrouble(
  store: StoreKind,
  trouble: Trouble,
  options: { readonly directory: string; readonly seed: number },
): Promise<TroubleReport> {
  const what = `${store}, ${WHAT[trouble]}`;
  const replay = `npm run prove -- faults --seed ${options.seed} -- --store ${store} --disk '${trouble}'`;
  return reported(what, replay, () => {
    if (trouble === 'no descriptors') return withoutDescriptors(store, options.directory);
    return onDisk(store, trouble, options.directory);
  });
}

async function reported(
  what: string,
  replay: string,
  befall: () => Promise<LoadReport | string>,
): Promise<TroubleReport> {
  let report: LoadReport | string;
  try {
    report = await befall();
  } catch (error) {
    const detail = error instanceof Error ? (error.stack ?? error.message) : String(error);
    const row = { what, count: 0, unit: 'writes', failures: 1 };
    return { row, failures: [{ what, detail, replay }] };
  }
  if (typeof report === 'string') {
    const { rows, failures } = skippedReport('faults', what, report);
    return { row: rows[0], failures };
  }
  const { problems, acknowledged, refused, recoveryMs } = report;
  const note = `${refused} refused; well again after ${Math.ceil(recoveryMs)} ms`;
  const row = { what, count: acknowledged, unit: 'writes', failures: problems.length, note };
  const failures = problems.length === 0 ? [] : [{ what, detail: problems.join('\n'), replay }];
  return { row, failures };
}

/** Answers why it cannot be done, where it cannot. */
async function onDisk(
  store: StoreKind,
  trouble: Exclude<Trouble, 'no descriptors'>,
  directory: string,
): Promise<LoadReport | string> {
  const image = join(directory, 'disk.img');
  const mountPoint = join(directory, 'disk');
  mkdirSync(mountPoint, { recursive: true });
  const mount = (): void => runProgram('mount', ['-o', 'loop', image, mountPoint]);
  try {
    writeFileSync(image, '');
    truncateSync(image, DISK_BYTES);
    runProgram('mkfs.ext4', ['-q', '-F', image]);
    mount();
  } catch (error) {
    return `no file system can be made here: ${(error as Error).message.split('\n')[0]}`;
  }
  const path = join(mountPoint, 'store');
  const ballast = join(mountPoint, 'ballast');
  const freeze = (flag: string): void => runProgram('chattr', ['-R', flag, path]);
  try {
    return await loadThrough({
      store: storeOptions(store, path),
      isForGood: trouble === 'dead',
      breakIt: {
        full: () => fill(ballast),
        frozen: () => runProgram('sh', ['-c', `find '${path}' -type d -exec chattr +i {} +`]),
        dead: () => runProgram('mount', ['-o', 'remount,abort', mountPoint]),
      }[trouble],
      mendIt: {
        full: () => rmSync(ballast),
        frozen: () => freeze('-i'),
        dead: () => {
          runProgram('umount', [mountPoint]);
          mount();
        },
      }[trouble],
    });
  } finally {
    if (trouble === 'frozen') freeze('-i');
    runProgram('umount', [mountPoint]);
    rmSync(image);
  }
}

function fill(ballast: string): void {
  const piece = Buffer.alloc(64 * 1024, 1);
  try {
    for (let i = 0; i < DISK_BYTES / piece.length; i++) {
      writeFileSync(ballast, piece, { flag: 'a' });
    }
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'ENOSPC') throw error;
    return;
  }
  throw new Error('the disk does not fill up');
}

/** In a process of its own, which may have few. */
async function withoutDescriptors(
  store: StoreKind,
  directory: string,
): Promise<LoadReport | string> {
  const program = fileURLToPath(new URL('./few-descriptors.js', import.meta.url));
  const command = `ulimit -n ${DESCRIPTORS} && exec "$0" "$@"`;
  const args = ['-c', command, process.execPath, program, store, join(directory, 'few')];
  const child = spawnSync('sh', args, { encoding: 'utf8', timeout: CHILD_LIMIT_MS });
  if (child.status !== 0) throw new Error(`it ended with ${child.status}: ${child.stderr}`);
  return JSON.parse(child.stdout) as LoadReport;
}
