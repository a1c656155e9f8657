/**
 * The metrics under upstream's names, and their Prometheus text, from the shared counters.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/metrics.go. Unlike the
 * reference, gauges are right from the start [W22].
 */
import { DECISION_REASONS, type DecisionReason } from './stats.ts';

/** The numbers that are exposed. */
export interface MetricValues {
  /** Intents and pulled records in the store. */
  readonly intents: number;
  readonly records: number;
  /** Share of the calling thread's replica that is used, 0 to 100, rounded down. */
  readonly intentsUsagePercent: number;
  readonly recordsUsagePercent: number;
  /** Decisions of all threads since the engine was opened, by reason. */
  readonly decisions: Readonly<Record<DecisionReason, number>>;
}

/** One number of a metric and the labels that tell it apart. */
export interface MetricSample {
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** A metric and how it is read. */
export interface MetricFamily {
  readonly name: string;
  readonly help: string;
  readonly type: 'counter' | 'gauge';
  readonly labelNames: readonly string[];
  readonly read: (values: MetricValues) => readonly MetricSample[];
}

/** Every metric, in the order of the text. */
export const METRIC_FAMILIES: readonly MetricFamily[] = [
  gauge(
    'kubelet_imagemanager_ondisk_pullintents',
    'Number of image pull intents in the store.',
    ({ intents }) => intents,
  ),
  gauge(
    'kubelet_imagemanager_ondisk_pulledrecords',
    'Number of image pulled records in the store.',
    ({ records }) => records,
  ),
  gauge(
    'kubelet_imagemanager_inmemory_pullintents_usage_percent',
    'Share of the in-memory intents that is used, in percent.',
    ({ intentsUsagePercent }) => intentsUsagePercent,
  ),
  gauge(
    'kubelet_imagemanager_inmemory_pulledrecords_usage_percent',
    'Share of the in-memory pulled records that is used, in percent.',
    ({ recordsUsagePercent }) => recordsUsagePercent,
  ),
  {
    name: 'kubelet_imagemanager_image_mustpull_checks_total',
    help: '[ALPHA] Number of decisions whether an image must be pulled, by result.',
    type: 'counter',
    labelNames: ['result'],
    read: ({ decisions }) =>
      DECISION_REASONS.map((result) => ({ labels: { result }, value: decisions[result] })),
  },
];

function gauge(name: string, help: string, read: (values: MetricValues) => number): MetricFamily {
  return {
    name,
    help: `[ALPHA] ${help}`,
    type: 'gauge',
    labelNames: [],
    read: (values) => [{ labels: {}, value: read(values) }],
  };
}

/** The exposition, version 0.0.4 of the text format. */
export function exposition(values: MetricValues): string {
  const lines = METRIC_FAMILIES.flatMap(({ name, help, type, read }) => [
    `# HELP ${name} ${help}`,
    `# TYPE ${name} ${type}`,
    ...read(values).map(({ labels, value }) => `${name}${labelText(labels)} ${value}`),
  ]);
  return `${lines.join('\n')}\n`;
}

/** Values here need no escapes. */
function labelText(labels: Readonly<Record<string, string>>): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${value}"`);
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`;
}
