/**
 * Power cuts: the store is on a file system of its own, ext4 in a file, which is shut down under
 * load so that everything not flushed is gone, and mounted again.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import * as fs from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Random } from '../../src/util/random.ts';
import { CrashHistory, type LifeEnding, LifeFailure } from './crash-harness.ts';
import type { Finding } from './crash-model.ts';

/** `FS_IOC_SHUTDOWN` with the flag that also drops the journal of the file system. */
const SHUTDOWN = 0x8004587d;
const NO_LOG_FLUSH = 2;
const UNMOUNT_ATTEMPTS = 60;
const DISK_BYTES = 256 * 1024 * 1024;
/** How long callers still meet the dead disk before their process goes, too. */
const AFTERMATH_MS = 30;

/** Why power cannot be cut here; `undefined` where it can. */
export function powerCutProblem(directory: string): string | undefined {
  if (process.platform !== 'linux') return 'needs Linux';
  if (process.getuid?.() !== 0) return 'needs root, to mount a file system';
  for (const program of ['mkfs.ext4', 'mount', 'umount']) {
    if (!hasProgram(program)) return `there is no program ${program}`;
  }
  if (!hasProgram('perl') && !hasProgram('python3')) return 'needs perl or python3, for an ioctl';
  const disk = new CutDisk(join(directory, 'probe'));
  try {
    disk.mount();
    disk.cut();
    return undefined;
  } catch (error) {
    return `a file system cannot be mounted or shut down: ${(error as Error).message.trim()}`;
  } finally {
    disk.remove();
  }
}

/** A file system whose power can be cut. */
export class CutDisk {
  /** Where it is mounted. */
  readonly path: string;
  readonly #image: string;

  constructor(directory: string) {
    fs.mkdirSync(directory, { recursive: true });
    this.path = join(directory, 'disk');
    this.#image = join(directory, 'disk.img');
    fs.mkdirSync(this.path, { recursive: true });
  }

  /** Mounts it; makes it, the first time. */
  mount(): void {
    if (!fs.existsSync(this.#image)) {
      fs.closeSync(fs.openSync(this.#image, 'wx'));
      fs.truncateSync(this.#image, DISK_BYTES);
      run('mkfs.ext4', ['-q', '-F', this.#image]);
    }
    run('mount', ['-o', 'loop', this.#image, this.path]);
  }

  /** From here on every write fails, and what was not flushed is lost. */
  cut(): void {
    if (hasProgram('perl')) {
      const code =
        `sysopen(my $d, $ARGV[0], 0) or die "open: $!"; my $f = pack("L", ${NO_LOG_FLUSH}); ` +
        `defined(ioctl($d, ${SHUTDOWN}, $f)) or die "ioctl: $!"`;
      run('perl', ['-e', code, this.path]);
      return;
    }
    const code =
      'import fcntl, os, struct, sys; ' +
      `fcntl.ioctl(os.open(sys.argv[1], os.O_RDONLY), ${SHUTDOWN}, struct.pack("I", ${NO_LOG_FLUSH}))`;
    run('python3', ['-c', code, this.path]);
  }

  /** Waits a little for whoever still looks at it. */
  async unmount(): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        run('umount', [this.path]);
        return;
      } catch (error) {
        if (attempt === UNMOUNT_ATTEMPTS) throw error;
        await delay(50);
      }
    }
  }

  /** Whatever state it is in. */
  remove(): void {
    spawnSync('umount', ['--lazy', this.path], { stdio: 'ignore' });
    fs.rmSync(this.#image, { force: true });
    fs.rmSync(this.path, { recursive: true, force: true });
  }
}

/** Options of a run of power cuts on one store. */
export interface PowerCutOptions {
  readonly directory: string;
  /** As in `HistoryOptions`. */
  readonly store: string;
  readonly seed: number;
  readonly command: readonly string[];
  /** Cuts under load wanted. */
  readonly cuts: number;
  readonly limitMs: number;
}

/** The result of a run of power cuts. */
export interface PowerCutReport {
  readonly cuts: number;
  /** While the store was being opened. */
  readonly cutsAtOpen: number;
  readonly acknowledged: number;
  readonly compared: number;
  readonly findings: readonly Finding[];
  readonly failure: string | undefined;
  readonly durationMs: number;
}

const LOAD_LEAST = 20;

/** Cuts the power of a store until that was done often enough or something was found. */
export async function runPowerCuts(options: PowerCutOptions): Promise<PowerCutReport> {
  const { directory, seed, cuts: wanted, limitMs } = options;
  const startedMs = performance.now();
  const random = new Random(seed, 3);
  const disk = new CutDisk(directory);
  const storePath = join(disk.path, 'store');
  const history = new CrashHistory({ ...options, storePath, isPowerCut: true });
  const counts = { load: 0, open: 0 };
  let acknowledged = 0;
  let findings: readonly Finding[] = [];
  let failure: string | undefined;
  const onExit = (): void => {
    history.abort();
    disk.remove();
  };
  process.once('exit', onExit);
  try {
    disk.mount();
    while (counts.load < wanted && findings.length === 0) {
      if (performance.now() - startedMs > limitMs) {
        throw new LifeFailure(`only ${counts.load} of ${wanted} cuts in ${limitMs} ms`);
      }
      const ending: LifeEnding =
        random.below(4) === 0
          ? { kind: 'open', afterMs: 50 + random.below(300) }
          : { kind: 'load', afterMs: Math.round(10 * 40 ** random.share()) };
      const result = await history.live(ending, async (child) => {
        disk.cut();
        await delay(AFTERMATH_MS);
        child.kill('SIGKILL');
      });
      await disk.unmount();
      disk.mount();
      if (result.findings.length === 0) history.keepStore();
      findings = result.findings;
      acknowledged += result.acknowledged;
      if (ending.kind === 'open') counts.open++;
      else if (result.acknowledged >= LOAD_LEAST) counts.load++;
    }
    if (findings.length === 0) {
      findings = (await history.live({ kind: 'clean', loadMs: 5 })).findings;
    }
  } catch (error) {
    const { message, stack } = error as Error;
    failure = error instanceof LifeFailure ? message : (stack ?? message);
  } finally {
    history.abort();
    disk.remove();
    process.removeListener('exit', onExit);
  }
  return {
    cuts: counts.load,
    cutsAtOpen: counts.open,
    acknowledged,
    compared: history.model.compared,
    findings,
    failure,
    durationMs: performance.now() - startedMs,
  };
}

function hasProgram(name: string): boolean {
  const path = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  return path.split(':').some((directory) => fs.existsSync(join(directory, name)));
}

function run(program: string, args: readonly string[]): void {
  const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;
  execFileSync(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { ...process.env, PATH },
  });
}
