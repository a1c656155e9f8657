import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { rmSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const RUNNER = fileURLToPath(new URL('../../../scripts/prove.mjs', import.meta.url));
const LOG_STORE = fileURLToPath(new URL('../../fixtures/stores/log-store.mjs', import.meta.url));

/** Of an acknowledged record, or of one that the kill left unanswered but that is there by half. */
const LOST_CREDENTIALS = /missing: |is in none of \d+ possible states/;

/** Seen in the store, by a stranger, or by a tenant whose proof is in no state of the record. */
const OPENED = /true,\[\],\[\]|a foreign tenant was let in|an answer that no state/;

/** Runs the proof on a store that is honest, or not. */
async function prove(
  mode: string,
  kills: number,
  hits: number,
): Promise<{ code: number; output: string }> {
  const store = `module:${LOG_STORE}?${mode}`;
  const own = ['--store', store, '--kills', String(kills), '--hits', String(hits)];
  const args = [RUNNER, 'crashes', '--seed', '7', '--', ...own];
  const child = spawn(process.execPath, args, { stdio: ['ignore', 'pipe', 'inherit'] });
  let output = '';
  child.stdout.setEncoding('utf8').on('data', (text: string) => {
    output += text;
  });
  const [code] = (await once(child, 'close')) as [number];
  const directory = /what it left is in (\S+)/.exec(output)?.[1];
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
  return { code, output };
}

describe('kills of a real process', { timeout: 300_000 }, () => {
  it('finds nothing in a store that keeps its promises', async () => {
    const { code, output } = await prove('honest', 6, 1);
    expect(output).toMatch(/module: under load +6 +kills +0 .*\d of them while closing, \d more/);
    expect(output).toMatch(/module: at points .*5 of 5 points/);
    expect(output).toMatch(/^NOTHING FOUND$/m);
    expect(code).toBe(0);
  });

  it.each([
    { mode: 'writesLate', name: 'acknowledges before it writes', found: /loss|revival/ },
    { mode: 'losesCredentials', name: 'drops credentials now and then', found: LOST_CREDENTIALS },
    {
      mode: 'opensToAll',
      name: 'opens records to everybody now and then',
      found: OPENED,
    },
  ])('finds out a store that $name', async ({ mode, found }) => {
    const { code, output } = await prove(mode, 6, 0);
    expect(output).toMatch(/FAILED: module: kills under load: \d+ \w+/);
    expect(output).toMatch(found);
    expect(output).toMatch(/again: npm run prove -- crashes --seed 7 -- --store/);
    expect(code).toBe(1);
  });

  it('finds out at a point a store that rewrites its file in place', async () => {
    const { code, output } = await prove('rewrites', 0, 2);
    expect(output).toMatch(/FAILED: module: at points: \d+ \w+/);
    expect(output).toMatch(/loss: /);
    expect(code).toBe(1);
  });
});
