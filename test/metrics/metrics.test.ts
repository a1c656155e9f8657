import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { exposition } from '../../src/metrics/exposition.ts';
import { SharedHistogram, SharedMetrics } from '../../src/metrics/shared-metrics.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import { PullManager as Manager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { FEW_SHAPES, open, openEngine, optionsOf } from '../support/engines.ts';

const CHECKS = 'kubelet_imagemanager_image_mustpull_checks_total';

function histogram(): SharedHistogram {
  return SharedMetrics.create(1).batchSizes(0);
}

describe('a histogram', () => {
  it('knows every quantile to 4 percent, and count, mean and maximum exactly', () => {
    const value = fc.oneof(
      fc.nat(40),
      fc.nat(100_000),
      fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      fc.nat(46).map((bits) => 2 ** bits),
      fc.integer({ min: 4, max: 46 }).map((bits) => 2 ** bits - 1),
    );
    fc.assert(
      fc.property(fc.array(value, { minLength: 1, maxLength: 400 }), (values) => {
        const one = histogram();
        for (const each of values) one.record(each);
        const summary = SharedHistogram.summarize([one]);
        const sorted = values.toSorted((a, b) => a - b);
        expect(summary.count).toBe(values.length);
        expect(summary.max).toBe(sorted.at(-1));
        const sum = values.reduce((total, each) => total + each, 0);
        expect(summary.mean).toBeCloseTo(sum / values.length, 3);
        for (const [quantile, found] of [
          [0.5, summary.p50],
          [0.9, summary.p90],
          [0.99, summary.p99],
          [0.999, summary.p999],
        ] as const) {
          const exact = sorted[Math.ceil(quantile * sorted.length) - 1]!;
          expect(Math.abs(found - exact)).toBeLessThanOrEqual(exact * 0.04);
        }
      }),
      { numRuns: 300 },
    );
  });

  it('of nothing is all zeros', () => {
    const zeros = { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, p999: 0, max: 0 };
    expect(SharedHistogram.summarize([])).toEqual(zeros);
    expect(SharedHistogram.summarize([histogram(), histogram()])).toEqual(zeros);
  });

  it('adds up with others', () => {
    const one = histogram();
    const other = histogram();
    for (let i = 1; i <= 500; i++) one.record(i);
    for (let i = 501; i <= 1000; i++) other.record(i);
    const { count, mean, p50, max } = SharedHistogram.summarize([one, other]);
    expect({ count, mean, max }).toEqual({ count: 1000, mean: 500.5, max: 1000 });
    expect(Math.abs(p50 - 500)).toBeLessThan(20);
  });
});

interface Family {
  type: string;
  help: string;
  samples: Map<string, number>;
}

/** Reads the text format, version 0.0.4, as strictly as a scraper. */
function parse(text: string): Map<string, Family> {
  const families = new Map<string, Family>();
  expect(text.endsWith('\n')).toBe(true);
  let help: RegExpMatchArray | null = null;
  let family: Family | undefined;
  let name = '';
  for (const line of text.slice(0, -1).split('\n')) {
    const isHelp = line.match(/^# HELP ([a-z_:][a-z0-9_:]*) (.+)$/);
    const isType = line.match(/^# TYPE ([a-z_:][a-z0-9_:]*) (counter|gauge|histogram)$/);
    const sample = line.match(/^([a-z_:][a-z0-9_:]*)(\{[a-z_]+="[^"\\\n]*"\})? (\d+)$/);
    if (isHelp !== null) help = isHelp;
    else if (isType !== null) {
      expect(help?.[1]).toBe(isType[1]);
      expect(families.has(isType[1]!)).toBe(false);
      name = isType[1]!;
      family = { type: isType[2]!, help: help![2]!, samples: new Map() };
      families.set(name, family);
    } else {
      expect(sample, line).not.toBeNull();
      expect(sample![1]).toBe(name);
      expect(family!.samples.has(sample![2] ?? '')).toBe(false);
      family!.samples.set(sample![2] ?? '', Number(sample![3]));
    }
  }
  return families;
}

describe('the exposition', () => {
  it('has the names, types and labels of upstream', () => {
    const families = parse(
      exposition({
        intents: 3,
        records: 4,
        intentsUsagePercent: 5,
        recordsUsagePercent: 6,
        decisions: {
          credentialPolicyAllowed: 7,
          credentialRecordFound: 8,
          mustAuthenticate: 9,
          error: 1e21,
        },
      }).replace('1e+21', '0'),
    );
    const values = [...families].map(([name, { type, samples }]) => [name, type, ...samples]);
    expect(values).toEqual([
      ['kubelet_imagemanager_ondisk_pullintents', 'gauge', ['', 3]],
      ['kubelet_imagemanager_ondisk_pulledrecords', 'gauge', ['', 4]],
      ['kubelet_imagemanager_inmemory_pullintents_usage_percent', 'gauge', ['', 5]],
      ['kubelet_imagemanager_inmemory_pulledrecords_usage_percent', 'gauge', ['', 6]],
      [
        CHECKS,
        'counter',
        ['{result="credentialPolicyAllowed"}', 7],
        ['{result="credentialRecordFound"}', 8],
        ['{result="mustAuthenticate"}', 9],
        ['{result="error"}', 0],
      ],
    ]);
    for (const { help } of families.values()) expect(help).toMatch(/^\[ALPHA\] /);
  });

  async function checks(manager: PullManager): Promise<Record<string, number>> {
    const { samples } = parse(await manager.metrics()).get(CHECKS)!;
    return Object.fromEntries([...samples].map(([label, count]) => [label.slice(9, -2), count]));
  }

  it.each(FEW_SHAPES)('of an engine with $name counts what it does', async (shape) => {
    const options = await optionsOf(shape);
    const manager = await open(options);
    expect(Object.values(await checks(manager))).toEqual([0, 0, 0, 0]);
    const a = secret('a');
    await manager.recordPullIntent('left');
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [a] });
    const attached = await Manager.attach(manager.handle);
    for (let i = 0; i < 3; i++) {
      for (const asked of [manager, attached]) {
        await asked.mustAttemptImagePull('preloaded', 'x');
        await asked.mustAttemptImagePull('app', 'ref', { secrets: [a] });
        await asked.decide('app', 'ref');
        await asked.decide('Bad Name', 'ref');
        await asked.decideBatch([{ image: 'left', imageRef: 'x' }]);
        asked.decideSync('app', 'ref', { secrets: [a] });
        await asked.mustAttemptImagePull('app', '');
      }
    }
    await attached.close();
    const sync = manager.stats().decisions.credentialRecordFound;
    expect(sync).toBe(12);
    const expected = {
      credentialPolicyAllowed: 6,
      credentialRecordFound: sync,
      mustAuthenticate: 12,
      error: 6,
    };
    expect(await checks(manager)).toEqual(expected);
    expect(manager.stats().decisions).toEqual(expected);
    const families = parse(await manager.metrics());
    const gauge = (name: string): number => families.get(name)!.samples.get('')!;
    expect(gauge('kubelet_imagemanager_ondisk_pullintents')).toBe(1);
    expect(gauge('kubelet_imagemanager_ondisk_pulledrecords')).toBe(1);
    const { commits, decisionsLocal, decisionsRemote } = manager.stats();
    expect(decisionsLocal + decisionsRemote).toBe(6 + sync + 12 + 6);
    expect(commits.batchSize.count).toBe(commits.latencyNs.count);
    expect(commits).toMatchObject({ failures: 0 });
    expect(commits.batchSize.count).toBeGreaterThanOrEqual(2);
    await manager.close();
    if (shape.store === 'memory') return;
    // Right from the start of the next.
    const next = parse(await (await open(options)).metrics());
    expect(next.get('kubelet_imagemanager_ondisk_pullintents')!.samples.get('')).toBe(1);
    expect(next.get('kubelet_imagemanager_ondisk_pulledrecords')!.samples.get('')).toBe(1);
  });

  it('never shows a name, secret or hash', async () => {
    const manager = await openEngine(FEW_SHAPES[0]!);
    await manager.recordPullIntent('hash-a');
    await manager.recordImagePulled('registry.io/hash-a', 'hash-a', {
      kubernetesSecrets: [secret('a')],
    });
    await manager.mustAttemptImagePull('registry.io/hash-a', 'hash-a', { secrets: [secret('a')] });
    expect(await manager.metrics()).not.toContain('hash-a');
    expect(JSON.stringify(manager.stats())).not.toContain('hash-a');
  });
});
