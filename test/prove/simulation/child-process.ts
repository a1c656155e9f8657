/** Runs simulations in processes of their own: see `child.ts`. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { extname, join } from 'node:path';
import { text } from 'node:stream/consumers';
import type { SimulationOptions, SimulationResult } from './simulate.ts';

/** A simulation that ends this long after its time hangs. */
const GRACE_MS = 120_000;

/** What a simulation came to, or how its process ended without saying so. */
export type ChildResult = SimulationResult | { readonly broken: string };

/**
 * Simulates with the compiled code in `directory`, the root of a compiled tree.
 *
 * @param onStart Is given the process, for whoever has to end it early.
 */
export async function simulateInChild(
  directory: string,
  options: SimulationOptions,
  onStart?: (child: ChildProcess) => void,
): Promise<ChildResult> {
  const here = join(directory, 'test', 'prove', 'simulation');
  const file = (name: string): string => join(here, `${name}${extname(import.meta.url)}`);
  const args = ['--import', file('clock'), file('child'), JSON.stringify(options)];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  onStart?.(child);
  const timer = setTimeout(() => child.kill('SIGKILL'), options.seconds * 1_000 + GRACE_MS);
  const ended = once(child, 'exit');
  const [out, errors] = await Promise.all([text(child.stdout), text(child.stderr)]);
  const [code, signal] = (await ended) as [number | null, string | null];
  clearTimeout(timer);
  const line = out.trim();
  if (line.startsWith('{')) return JSON.parse(line) as SimulationResult;
  const how = `the process ended with ${signal ?? code}`;
  return { broken: `${how} and no result\n${errors.trim().split('\n').slice(-20).join('\n')}` };
}
