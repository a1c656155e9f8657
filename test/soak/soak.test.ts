import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import { PullManager } from '../../src/pull-manager.ts';
import { temporaryDirectory } from '../support/engines.ts';
import { type SoakReport, soak } from './soak.ts';

afterEach(() => {
  vi.restoreAllMocks();
});

/** A method of the manager as it is, to be called from one that stands in for it. */
function real<K extends 'decide' | 'stats'>(name: K): PullManager[K] {
  return PullManager.prototype[name];
}

/** A few seconds of soak, without threads. */
async function shortSoak(): Promise<SoakReport> {
  const directory = await temporaryDirectory();
  return soak({
    store: { kind: 'journal', path: join(directory, 'store') },
    directory,
    minutes: 5 / 60,
    seed: 5,
    workerCount: 0,
    callers: 8,
    images: 50,
    signal: new AbortController().signal,
    log: () => {},
  });
}

describe.runIf(existsSync('/proc/self/task'))('a soak', () => {
  it('finds nothing wrong with an engine that is right', async () => {
    const report = await shortSoak();
    expect(report).toMatchObject({ wrong: [], failures: {} });
    expect(report.operations).toBeGreaterThan(500);
    expect(report.pruned).toBeGreaterThan(0);
    expect(report.reopened).toBeGreaterThan(0);
    // A few seconds say nothing about growth, and it does not claim so.
    expect(report.flatness).toEqual([]);
    for (const { values } of report.series) expect(values).toHaveLength(report.atSeconds.length);
  });

  it('finds strangers that are let in', async () => {
    const decide = real('decide');
    vi.spyOn(PullManager.prototype, 'decide').mockImplementation(async function (
      this: PullManager,
      image,
      imageRef,
      credentials,
    ) {
      const decision = await decide.call(this, image, imageRef, credentials);
      const isPlanted = decision.mustPull && image.endsWith('.3');
      return isPlanted
        ? { ...decision, mustPull: false, reason: 'credentialRecordFound' }
        : decision;
    });
    const { wrong, wrongCount } = await shortSoak();
    expect(wrongCount).toBeGreaterThan(0);
    expect(wrong[0]).toMatch(/^a stranger to .* is told credentialRecordFound$/);
  });

  it('finds records that a reopened engine has lost', async () => {
    const stats = real('stats');
    vi.spyOn(PullManager.prototype, 'stats').mockImplementation(function (this: PullManager) {
      return { ...stats.call(this), records: 0 };
    });
    const { wrong } = await shortSoak();
    expect(wrong).toContainEqual(expect.stringMatching(/^reopened with 0 records instead of/));
  });
});
