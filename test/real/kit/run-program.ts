/** Runs a program to its end. */
import { execFile } from 'node:child_process';

const TIMEOUT_MS = 60_000;
const OUTPUT_BYTES_MAX = 64 * 1024 * 1024;

/** Answers the standard output; fails with the standard error where the exit code is not 0. */
export function runProgram(
  command: string,
  args: readonly string[],
  input: string | Buffer = '',
): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = execFile(
      command,
      [...args],
      { timeout: TIMEOUT_MS, maxBuffer: OUTPUT_BYTES_MAX },
      (error, stdout, stderr) => {
        if (error === null) resolve(stdout);
        else reject(new Error(`${command} failed: ${stderr.trim() || error.message}`));
      },
    );
    // One that does not read its input may close it.
    child.stdin?.on('error', () => {});
    child.stdin?.end(input);
  });
}
