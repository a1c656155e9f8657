/** How results are shown: a table for people, an object for machines. */
import { execFileSync } from 'node:child_process';
import { statfsSync } from 'node:fs';
import { availableParallelism, cpus, loadavg, platform, release, totalmem } from 'node:os';
import type { BaselineId, BenchRow } from './topic.ts';

/** What results are only comparable within. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryBytes: number;
  readonly system: string;
  readonly node: string;
  /** Short commit, with `+` where the tree differs from it; `unknown` outside a checkout. */
  readonly commit: string;
  /** File system of the data directory. */
  readonly fileSystem: string;
  /** Mean number of running threads in the last minute, before the benchmarks began. */
  readonly load: number;
}

const FILE_SYSTEMS: ReadonlyMap<number, string> = new Map([
  [0xef53, 'ext4'],
  [0x58465342, 'xfs'],
  [0x9123683e, 'btrfs'],
  [0x01021994, 'tmpfs'],
  [0x794c7630, 'overlayfs'],
  [0x2fc12fc1, 'zfs'],
]);

/** Describes this machine; `directory` is where the benchmarks write. */
export function describeMachine(directory: string): Machine {
  const type = statfsSync(directory).type;
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    system: `${platform()} ${release()}`,
    node: process.version,
    commit: commit(),
    fileSystem: FILE_SYSTEMS.get(type) ?? `0x${type.toString(16)}`,
    load: loadavg()[0] ?? 0,
  };
}

function commit(): string {
  const git = (...args: string[]): string =>
    execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
  try {
    return git('rev-parse', '--short', 'HEAD') + (git('status', '--porcelain') === '' ? '' : '+');
  } catch {
    return 'unknown';
  }
}

/** One line. */
export function machineLine(machine: Machine): string {
  const { cpu, cores, memoryBytes, system, node, fileSystem } = machine;
  const memory = `${Math.round(memoryBytes / 2 ** 30)} GB`;
  return [cpu, `${cores} cores`, memory, system, fileSystem, `Node ${node}`, machine.commit].join(
    ', ',
  );
}

const BASELINES: readonly BaselineId[] = ['a', 'b', 'c', 'other'];
const COMPARED = BASELINES.map((id) => `vs ${id}`);
const HEADER = ['work', 'subject', 'median', '±', 'p50', 'p99', 'p99.9', ...COMPARED];
const TEXT_COLUMNS = 2;

/** The rows as an aligned table; ratios show their floor, and `!` where it was missed. */
export function table(rows: readonly BenchRow[]): string {
  if (rows.length === 0) return '';
  const lines = [HEADER, ...rows.map(cells)];
  const widths = HEADER.map((_, column) => Math.max(...lines.map((line) => line[column]!.length)));
  const rule = widths.map((width) => '-'.repeat(width));
  const aligned = (line: readonly string[]): string =>
    line
      .map((cell, i) => (i < TEXT_COLUMNS ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join(' | ');
  return [lines[0]!, rule, ...lines.slice(1)].map((line) => `| ${aligned(line)} |`).join('\n');
}

function cells(row: BenchRow): string[] {
  const { latencyNs } = row;
  return [
    row.work,
    row.subject,
    showValue(row),
    showSpread(row.samples),
    latencyNs ? showNs(latencyNs.p50) : '',
    latencyNs ? showNs(latencyNs.p99) : '',
    latencyNs ? showNs(latencyNs.p999) : '',
    ...BASELINES.map((id) => showRatio(row, id)),
  ];
}

function showRatio(row: BenchRow, id: BaselineId): string {
  const ratio = row.ratios[id];
  if (ratio === undefined) return '';
  const floor = ratio.atLeast === undefined ? '' : ` (≥ ${ratio.atLeast})`;
  const missed = ratio.atLeast !== undefined && ratio.value < ratio.atLeast ? ' !' : '';
  const other = id === 'other' ? ` of ${ratio.subject}` : '';
  return `${significant(ratio.value)}×${other}${floor}${missed}`;
}

function showValue(row: BenchRow): string {
  const limit = row.atMost === undefined ? '' : ` (≤ ${row.atMost.toLocaleString('en')})`;
  const missed = row.atMost !== undefined && row.value > row.atMost ? ' !' : '';
  const number = row.value >= 100 ? Math.round(row.value) : Number(row.value.toPrecision(3));
  return `${number.toLocaleString('en')} ${row.unit}${limit}${missed}`;
}

/** Half the range of the samples, in percent of their middle. */
function showSpread(samples: readonly number[]): string {
  if (samples.length < 2) return '';
  const low = Math.min(...samples);
  const high = Math.max(...samples);
  return `${Math.round(((high - low) / (high + low)) * 100)} %`;
}

/** A duration in the unit that suits it. */
function showNs(ns: number): string {
  if (ns < 1e3) return `${significant(ns)} ns`;
  if (ns < 1e6) return `${significant(ns / 1e3)} µs`;
  return ns < 1e9 ? `${significant(ns / 1e6)} ms` : `${significant(ns / 1e9)} s`;
}

function significant(value: number): string {
  // From 99.5 on, two digits would be 1.0e+2.
  return value >= 99.5 ? Math.round(value).toString() : value.toPrecision(2);
}

/** Floors and limits: how many were set, and which rows missed theirs. */
export function floors(rows: readonly BenchRow[]): { set: number; missed: BenchRow[] } {
  let set = 0;
  const missed = new Set<BenchRow>();
  for (const row of rows) {
    for (const { value, atLeast } of Object.values(row.ratios)) {
      if (atLeast === undefined) continue;
      set++;
      if (value < atLeast) missed.add(row);
    }
    if (row.atMost === undefined) continue;
    set++;
    if (row.value > row.atMost) missed.add(row);
  }
  return { set, missed: [...missed] };
}
