/** The real command line, as a process of its own. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { readdirSync, readlinkSync } from 'node:fs';
import { join } from 'node:path';
import { PROGRAM } from './program.ts';

export interface Outcome {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface CliOptions {
  readonly cwd?: string;
  /** What is on the standard input. @default nothing */
  readonly input?: string;
  /** A file descriptor in place of the pipe for the result. */
  readonly stdout?: number;
}

/** Starts `pullwarden` with these arguments. */
export function startCli(args: readonly string[], options: CliOptions = {}): ChildProcess {
  const child = spawn(process.execPath, [...PROGRAM, ...args], {
    cwd: options.cwd,
    env: { ...process.env, NO_COLOR: '', FORCE_COLOR: undefined },
    stdio: ['pipe', options.stdout ?? 'pipe', 'pipe'],
  });
  child.stdin!.on('error', () => {});
  child.stdin!.end(options.input ?? '');
  return child;
}

/** What came of a process. */
export async function outcomeOf(child: ChildProcess): Promise<Outcome> {
  const texts = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr'] as const) {
    child[name]?.setEncoding('utf8').on('data', (text: string) => {
      texts[name] += text;
    });
  }
  const [code] = (await once(child, 'close')) as [number | null];
  return { code, ...texts };
}

/** Runs `pullwarden` to its end. */
export function runCli(args: readonly string[], options?: CliOptions): Promise<Outcome> {
  return outcomeOf(startCli(args, options));
}

/** Whether a process has the file at this path open. */
export function isOpenIn({ pid }: Pick<ChildProcess, 'pid'>, path: string): boolean {
  const descriptors = `/proc/${pid}/fd`;
  return readdirSync(descriptors).some((fd) => {
    try {
      return readlinkSync(join(descriptors, fd)) === path;
    } catch {
      return false; // Closed meanwhile.
    }
  });
}
