/** The report of a storm as one page. */
import { formatBytes, formatCount, formatNs, plural } from '../../../terminal/format.ts';
import type { StormResult } from '../../result-schema.ts';
import { type Figure, table } from './figure.ts';
import { html, type Markup } from './markup.ts';
import { pageText, type Section } from './page.ts';
import { decidePercentiles, writePercentiles } from './percentile-figures.ts';
import {
  decisionsTable,
  definitions,
  eventsTable,
  keyFigures,
  machineRows,
  operationsTable,
  stagesTable,
  stormLoadText,
  thresholdsTable,
  tileList,
  verdictBox,
  wrongList,
} from './sections.ts';
import { timeFigure } from './time-figures.ts';
import {
  BATCH_SIZE,
  COMMITS,
  DECIDE_LATENCY,
  EVENT_LOOP,
  LAG,
  MEMORY,
  PROCESSORS,
  REQUESTS,
  THROUGHPUT,
  type TimePlan,
  WRITE_LATENCY,
} from './time-plans.ts';

/**
 * The report of a storm: one HTML file with everything in it, which asks nothing of a network.
 *
 * @throws `INVALID_ARGUMENT` for a histogram that is none.
 */
export function htmlReport(result: StormResult): string {
  const over = (...plans: readonly TimePlan[]): Figure[] =>
    plans.map((plan) => timeFigure(result, plan));
  const isOpen = result.load.model === 'open';
  const isWrong = result.wrong.length > 0 || result.problems.length > 0;
  const sections: (Section | undefined)[] = [
    { id: 'verdict', title: 'Verdict', body: verdictBox(result) },
    isWrong ? { id: 'wrong', title: 'Wrong answers', body: wrongList(result) } : undefined,
    { id: 'thresholds', title: 'Thresholds', body: thresholdsTable(result) },
    { id: 'key-figures', title: 'Key figures', body: tileList(keyFigures(result)) },
    {
      id: 'latency',
      title: 'Latency',
      body: operationsTable(result),
      figures: [
        ...over(DECIDE_LATENCY, WRITE_LATENCY),
        decidePercentiles(result),
        writePercentiles(result),
      ],
    },
    {
      id: 'load',
      title: 'Throughput',
      figures: isOpen ? over(REQUESTS, LAG, THROUGHPUT) : over(THROUGHPUT),
    },
    result.stages.length > 1
      ? { id: 'stages', title: 'Stages', body: table(stagesTable(result), 'Stages') }
      : undefined,
    {
      id: 'batches',
      title: 'Batches and commits',
      body: html`<p>${commitsText(result)}</p>`,
      figures: over(BATCH_SIZE, COMMITS),
    },
    { id: 'decisions', title: 'Decisions by reason', body: decisionsTable(result) },
    result.events.length > 0
      ? { id: 'events', title: 'Events', body: table(eventsTable(result), 'Events') }
      : undefined,
    {
      id: 'machine-load',
      title: 'Processors and memory',
      figures: over(PROCESSORS, EVENT_LOOP, MEMORY),
    },
    { id: 'again', title: 'Run it again', body: again(result) },
    { id: 'environment', title: 'Environment', body: definitions(environmentRows(result)) },
  ];
  return pageText({
    title: `pullwarden storm ${result.scenario}`,
    lead: html`<p class="lead">${result.description}</p><p class="lead">${settings(result)}</p>`,
    sections: sections.filter((one) => one !== undefined),
  });
}

function settings(result: StormResult): string {
  const { images, tenants, workers, storeLabel, policy, seed } = result;
  return [
    stormLoadText(result),
    plural(images, 'image'),
    plural(tenants, 'tenant'),
    plural(workers, 'worker'),
    storeLabel,
    policy,
    `seed ${seed}`,
  ].join(' · ');
}

function commitsText({ batchSize, commitLatencyNs: commit, writtenBytes }: StormResult): string {
  if (commit.count === 0) return 'Nothing was committed.';
  return (
    `${formatCount(commit.count)} commits: p50 ${formatNs(commit.p50)}, p99 ${formatNs(commit.p99)}, ` +
    `longest ${formatNs(commit.max)}. Writes in one: p50 ${formatCount(batchSize.p50)}, ` +
    `p99 ${formatCount(batchSize.p99)}, most ${formatCount(batchSize.max)}. ` +
    `${formatBytes(writtenBytes)} written.`
  );
}

function again({ command, seed, scenarioHash }: StormResult): Markup {
  return html`<p>The same seed makes the same storm; what overlaps what is up to the machine.</p>
<pre class="scroll" tabindex="0" role="region" aria-label="Command"><code>${command}</code></pre>
${definitions([
  ['seed', String(seed)],
  ['scenario', scenarioHash],
])}`;
}

function environmentRows(result: StormResult): [string, string][] {
  const { startedAt, storeLabel, compatibility, workers, stripes, overheadNs, machine } = result;
  const rows: [string, string][] = [
    ['started', startedAt],
    ...machineRows(machine),
    ['store', storeLabel],
    ['compatibility', compatibility],
    ['workers, stripes', `${formatCount(workers)}, ${formatCount(stripes)}`],
  ];
  if (overheadNs !== undefined && overheadNs !== null) {
    const { driverNs, verifyNs } = overheadNs;
    const text = `${formatNs(driverNs)} an operation, and ${formatNs(verifyNs)} to check it`;
    rows.push(['the storm itself', text]);
  }
  return rows;
}
