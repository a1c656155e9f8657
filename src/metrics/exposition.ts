/**
 * Prometheus text under upstream's metric names, from the shared counters.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/metrics.go. Unlike the
 * reference, gauges are right from the start [W22].
 */
import { DECISION_REASONS, type DecisionReason } from './stats.ts';

export interface MetricValues {
  readonly intents: number;
  readonly records: number;
  /** Share of the calling thread's replica that is used, 0 to 100, rounded down. */
  readonly intentsUsagePercent: number;
  readonly recordsUsagePercent: number;
  readonly decisions: Readonly<Record<DecisionReason, number>>;
}

/** The exposition, version 0.0.4 of the text format. */
export function exposition(values: MetricValues): string {
  return [
    ...gauge(
      'kubelet_imagemanager_ondisk_pullintents',
      'Number of image pull intents in the store.',
      values.intents,
    ),
    ...gauge(
      'kubelet_imagemanager_ondisk_pulledrecords',
      'Number of image pulled records in the store.',
      values.records,
    ),
    ...gauge(
      'kubelet_imagemanager_inmemory_pullintents_usage_percent',
      'Share of the in-memory intents that is used, in percent.',
      values.intentsUsagePercent,
    ),
    ...gauge(
      'kubelet_imagemanager_inmemory_pulledrecords_usage_percent',
      'Share of the in-memory pulled records that is used, in percent.',
      values.recordsUsagePercent,
    ),
    ...header(
      'kubelet_imagemanager_image_mustpull_checks_total',
      'Number of decisions whether an image must be pulled, by result.',
      'counter',
    ),
    ...DECISION_REASONS.map(
      (reason) =>
        `kubelet_imagemanager_image_mustpull_checks_total{result="${reason}"} ${values.decisions[reason]}`,
    ),
    '',
  ].join('\n');
}

function gauge(name: string, help: string, value: number): string[] {
  return [...header(name, help, 'gauge'), `${name} ${value}`];
}

function header(name: string, help: string, type: 'counter' | 'gauge'): string[] {
  return [`# HELP ${name} [ALPHA] ${help}`, `# TYPE ${name} ${type}`];
}
