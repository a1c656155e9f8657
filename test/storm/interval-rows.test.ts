import { describe, expect, it } from 'vitest';
import { IntervalRows } from '../../src/storm/interval-rows.ts';
import type { IntervalResult } from '../../src/storm/result-schema.ts';

function row(index: number, stage = 'one'): IntervalResult {
  return {
    atMs: index * 1_000,
    durationMs: 1_000,
    stage,
    operations: index,
    operationsPerSecond: index,
    wantedPerSecond: 10,
    reachedPerSecond: index,
    errors: 1,
    wrongDecisions: 0,
    decideNs: { p50: 1, p99: index, max: index },
    writeNs: { p50: 2, p99: 3, max: 4 },
    lagP99Ns: index,
    eventLoopDelayP99Ns: 5,
    cpuMain: 0.5,
    cpuAll: 1,
    rssBytes: index,
    heapUsedBytes: 6,
    commits: index,
    writesPerCommit: 2,
    writtenBytes: 7,
  };
}

describe('interval rows', () => {
  it('are halved when there are too many, and nothing is lost', () => {
    const rows = new IntervalRows(1_000, 4);
    for (let index = 0; index < 5; index++) rows.push(row(index));
    expect(rows.intervalMs).toBe(2_000);
    expect(rows.all).toHaveLength(3);
    expect(rows.all[1]).toEqual({
      ...row(2),
      durationMs: 2_000,
      operations: 5,
      operationsPerSecond: 2.5,
      reachedPerSecond: 2.5,
      errors: 2,
      decideNs: { p50: 1, p99: 3, max: 3 },
      lagP99Ns: 3,
      rssBytes: 3,
      commits: 5,
      writtenBytes: 14,
    });
    const operations = rows.all.reduce((sum, each) => sum + each.operations, 0);
    expect(operations).toBe(0 + 1 + 2 + 3 + 4);
  });

  it('of different stages stay apart', () => {
    const rows = new IntervalRows(1_000, 3);
    for (const [index, stage] of ['a', 'b', 'b', 'c'].entries()) rows.push(row(index, stage));
    expect(rows.all.map(({ stage, durationMs }) => [stage, durationMs])).toEqual([
      ['a', 1_000],
      ['b', 2_000],
      ['c', 1_000],
    ]);
  });

  it('stay few however long a storm runs', () => {
    const rows = new IntervalRows(1, 10);
    for (let index = 0; index < 10_000; index++) rows.push(row(index));
    expect(rows.all.length).toBeLessThanOrEqual(10);
  });
});
