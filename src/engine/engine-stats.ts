/** What the shared counters of an engine say, as one of its threads sees it. */
import type { MetricValues } from '../metrics/exposition.ts';
import {
  HOST_ROW,
  SharedHistogram,
  type SharedMetrics,
  WORKER_ROW,
} from '../metrics/shared-metrics.ts';
import { DECISION_REASONS, type DecisionReason, type EngineStats } from '../metrics/stats.ts';
import type { Host } from './host.ts';

/** The answer of `PullManager.stats`. */
export function engineStats({ handle, state, metrics, client, decider }: Host): EngineStats {
  const { workerCount, stripeCount } = state;
  const { replica } = decider;
  const workers = Array.from({ length: workerCount }, (_, worker) => worker);
  return {
    workerCount: handle.workerCount,
    stripeCount,
    store: handle.store,
    records: metrics.workerSum(WORKER_ROW.RECORDS),
    intents: metrics.workerSum(WORKER_ROW.INTENTS),
    writtenBytes: metrics.workerSum(WORKER_ROW.WRITTEN_BYTES),
    decisions: decisionsOf(metrics),
    decisionsLocal: metrics.hostSum(HOST_ROW.LOCAL),
    decisionsRemote: metrics.hostSum(HOST_ROW.REMOTE),
    pending: client.pending,
    pendingLimit: client.pendingLimit,
    heldBack: client.heldBack,
    commits: {
      failures: metrics.workerSum(WORKER_ROW.COMMIT_FAILURES),
      batchSize: SharedHistogram.summarize(workers.map((i) => metrics.batchSizes(i))),
      latencyNs: SharedHistogram.summarize(workers.map((i) => metrics.commitLatencies(i))),
    },
    failures: {
      reconcile: metrics.hostSum(HOST_ROW.RECONCILE_FAILURES),
      matchWrite: metrics.hostSum(HOST_ROW.MATCH_WRITE_FAILURES),
      prune: metrics.hostSum(HOST_ROW.PRUNE_FAILURES),
    },
    workersReplaced: metrics.hostSum(HOST_ROW.WORKERS_REPLACED),
    replica: { records: replica.recordCount, intents: replica.intentCount },
  };
}

/** What `PullManager.metrics` exposes. */
export function metricValues({ metrics, decider }: Host): MetricValues {
  const { replica } = decider;
  return {
    intents: metrics.workerSum(WORKER_ROW.INTENTS),
    records: metrics.workerSum(WORKER_ROW.RECORDS),
    intentsUsagePercent: Math.floor((100 * replica.intentCount) / replica.intentsMax),
    recordsUsagePercent: Math.floor((100 * replica.recordCount) / replica.recordsMax),
    decisions: decisionsOf(metrics),
  };
}

/** Decisions of all threads, by reason. */
function decisionsOf(metrics: SharedMetrics): Record<DecisionReason, number> {
  const counts = DECISION_REASONS.map((reason, i) => [
    reason,
    metrics.hostSum(HOST_ROW.DECISIONS + i),
  ]);
  return Object.fromEntries(counts) as Record<DecisionReason, number>;
}
