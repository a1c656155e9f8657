/** Runs a part of a compiled tree in a process of its own, which may die or hang of what is wrong. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { text } from 'node:stream/consumers';

/** A process that ends this long after its time hangs. */
const GRACE_MS = 90_000;
const SHOWN_LINES = 20;

/** The process gave no result. */
export interface Broken {
  readonly broken: string;
}

/** A file that is run with one argument of JSON, and prints one line of JSON. */
export interface ChildFile {
  /** The root of a compiled tree. */
  readonly tree: string;
  /** Below the tree, without extension. */
  readonly file: string;
  /** Loaded first in every thread. */
  readonly preload?: string;
}

export async function runChild<Result extends object>(
  { tree, file, preload }: ChildFile,
  options: { readonly seconds: number },
): Promise<Result | Broken> {
  const path = (name: string): string => join(tree, `${name}${extname(import.meta.url)}`);
  const first = preload === undefined ? [] : ['--import', path(preload)];
  const args = [...first, path(file), JSON.stringify(options)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  const timer = setTimeout(() => child.kill('SIGKILL'), options.seconds * 1_000 + GRACE_MS);
  const ended = once(child, 'exit');
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code, signal] = (await ended) as [number | null, string | null];
  clearTimeout(timer);
  const line = out.trim();
  if (line.startsWith('{')) return JSON.parse(line) as Result;
  const shown = errors.trim().split('\n').slice(-SHOWN_LINES).join('\n');
  return { broken: `the process ended with ${signal ?? code} and no result\n${shown}` };
}
