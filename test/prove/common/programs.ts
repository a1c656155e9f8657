/** Programs of the system that some proofs need. */
import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';

/** Where Debian puts the programs of administrators need not be on the PATH. */
const PATH = `${process.env.PATH ?? ''}:/usr/sbin:/sbin`;

export function hasProgram(name: string): boolean {
  return PATH.split(':').some((directory) => existsSync(join(directory, name)));
}

/** Runs a program to its end; throws with what it said where it fails. */
export function runProgram(program: string, args: readonly string[]): void {
  const { status, error, stderr } = spawnSync(program, args, {
    stdio: ['ignore', 'ignore', 'pipe'],
    encoding: 'utf8',
    env: { ...process.env, PATH },
  });
  if (error !== undefined) throw error;
  if (status !== 0) throw new Error(`${program} ended with ${status}: ${stderr.trim()}`);
}
