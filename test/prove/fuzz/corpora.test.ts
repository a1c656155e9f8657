/** Every input that is kept does what it must, and what is said of it. */
import { mkdtempSync, readdirSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { Beat } from './beat.ts';
import { readCorpus, rootDirectory } from './corpus.ts';
import { Feeder } from './feeder.ts';
import { targets } from './targets/index.ts';

describe('the corpus', () => {
  it.each(targets)('of $name is harmless', async (target) => {
    const directory = mkdtempSync(join(tmpdir(), 'pullwarden-fuzz-'));
    await target.open?.(directory);
    try {
      const entries = readCorpus(target.name);
      const outcomes: string[] = [];
      const feeder = new Feeder(target, new Beat());
      for (const { name, verdict, input } of entries) {
        await feeder.feed(input);
        await feeder.checkPrototypes([input]);
        expect(
          feeder.found.map(({ what }) => what),
          name,
        ).toEqual([]);
        if (verdict !== undefined) outcomes.push(`${name}: ${await target.feed(input)}`);
      }
      const expected = entries.flatMap(({ name, verdict }) =>
        verdict === undefined ? [] : [`${name}: ${verdict}`],
      );
      expect(outcomes).toEqual(expected);
      // Both ways are taken: else nothing much is read.
      const verdicts = entries.map(({ verdict }) => verdict);
      expect(verdicts).toContain('accepted');
      expect(verdicts).toContain('refused');
    } finally {
      await target.close?.();
      rmSync(directory, { recursive: true, force: true });
    }
  });

  it('belongs to a target', () => {
    const files = readdirSync(join(rootDirectory(), 'test/fixtures/fuzz')).filter((name) =>
      name.endsWith('.jsonl'),
    );
    expect(files.sort()).toEqual(targets.map(({ name }) => `${name}.jsonl`).sort());
  });
});
