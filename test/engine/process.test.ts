import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';
import { describe, expect, it } from 'vitest';
import { open, temporaryDirectory } from '../support/engines.ts';

const SCRIPT = fileURLToPath(new URL('../fixtures/engine/run-and-end.mjs', import.meta.url));

describe('a process', () => {
  it.each([0, 1])('ends by itself once its engine with %d workers is closed', async (workers) => {
    const path = await temporaryDirectory();
    const run = promisify(execFile)(process.execPath, [SCRIPT, `${workers}`, path], {
      timeout: 30_000,
    });
    const { stdout, stderr } = await run;
    expect(stdout).toBe('closed\n');
    expect(stderr).toBe('');
    const manager = await open({ store: { kind: 'journal', path }, workerCount: 0 });
    expect(manager.stats()).toMatchObject({ intents: 1, records: 1 });
  });
});
