/** Runs a piece of code in a Node of its own. */
import { execFile } from 'node:child_process';
import { promisify } from 'node:util';

const TIMEOUT_MS = 60_000;

/** Answers what it prints; rejects where it fails or does not end by itself. */
export async function runNode(code: string): Promise<string> {
  const args = ['--import', 'tsx', '--input-type=module', '--eval', code];
  const { stdout } = await promisify(execFile)(process.execPath, args, { timeout: TIMEOUT_MS });
  return stdout;
}
