/**
 * The metrics of an image manager under upstream's names, and their Prometheus text.
 *
 * Source: kubernetes pkg/kubelet/metrics/metrics.go, pkg/kubelet/images/metrics.go.
 */
import { PULL_POLICIES, type PullPolicy } from '../images/pull-policy.ts';

/** What was seen of an image, for a label. */
export type Seen = 'true' | 'false' | 'unknown';

const SEEN: readonly Seen[] = ['true', 'false', 'unknown'];

const ENSURE_NAME = 'kubelet_image_manager_ensure_image_requests_total';
const PULL_NAME = 'kubelet_image_pull_duration_seconds';
/** Upper limits in seconds. */
const PULL_BUCKETS = [
  1, 5, 10, 20, 30, 60, 120, 180, 240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
] as const;
const MB = 1 << 20;
const GB = 1 << 30;
/** Sizes below the limit have the label. */
const SIZE_LABELS: readonly (readonly [limitBytes: number, label: string])[] = [
  [10 * MB, '0-10MB'],
  [100 * MB, '10MB-100MB'],
  [500 * MB, '100MB-500MB'],
  [GB, '500MB-1GB'],
  [5 * GB, '1GB-5GB'],
  [10 * GB, '5GB-10GB'],
  [20 * GB, '10GB-20GB'],
  [30 * GB, '20GB-30GB'],
  [40 * GB, '30GB-40GB'],
  [60 * GB, '40GB-60GB'],
  [100 * GB, '60GB-100GB'],
];
const SIZE_LABEL_MAX = 'GT100GB';
const SIZE_LABEL_UNKNOWN = 'N/A';

interface Durations {
  /** Of each bucket alone; the last is of what is above all limits. */
  readonly counts: number[];
  sum: number;
}

/** Counted by one thread. */
export class ImageManagerMetrics {
  /** By policy, presence and need, so that counting makes no text. */
  readonly #requests: number[] = new Array<number>(PULL_POLICIES.length * SEEN.length ** 2).fill(0);
  readonly #pulls = new Map<string, Durations>();

  /** Counts a call of `ensureImage`, whatever came of it. */
  ensured(pullPolicy: PullPolicy, present: Seen, pullRequired: Seen): void {
    const policyAt = PULL_POLICIES.indexOf(pullPolicy) * SEEN.length;
    const at = (policyAt + SEEN.indexOf(present)) * SEEN.length + SEEN.indexOf(pullRequired);
    this.#requests[at]!++;
  }

  /** Counts a pull that succeeded. */
  pulled(seconds: number, sizeBytes: number | undefined): void {
    const label = sizeLabel(sizeBytes);
    let durations = this.#pulls.get(label);
    if (durations === undefined) {
      durations = { counts: new Array<number>(PULL_BUCKETS.length + 1).fill(0), sum: 0 };
      this.#pulls.set(label, durations);
    }
    const bucket = PULL_BUCKETS.findIndex((limit) => seconds <= limit);
    durations.counts[bucket === -1 ? PULL_BUCKETS.length : bucket]!++;
    durations.sum += seconds;
  }

  /** The exposition, version 0.0.4 of the text format. */
  exposition(): string {
    const lines = [
      `# HELP ${ENSURE_NAME} [ALPHA] Number of requests to make sure that an image may be used.`,
      `# TYPE ${ENSURE_NAME} counter`,
      ...this.#requests.flatMap((count, at) => (count === 0 ? [] : [requestLine(at, count)])),
      `# HELP ${PULL_NAME} [ALPHA] Duration in seconds of pulls that succeeded.`,
      `# TYPE ${PULL_NAME} histogram`,
      ...Array.from(this.#pulls, ([label, durations]) => histogram(label, durations)).flat(),
    ];
    return `${lines.join('\n')}\n`;
  }
}

function requestLine(at: number, count: number): string {
  const required = SEEN[at % SEEN.length];
  const present = SEEN[Math.floor(at / SEEN.length) % SEEN.length];
  const policy = PULL_POLICIES[Math.floor(at / SEEN.length ** 2)]!.toLowerCase();
  const labels = `present_locally="${present}",pull_policy="${policy}",pull_required="${required}"`;
  return `${ENSURE_NAME}{${labels}} ${count}`;
}

function histogram(label: string, { counts, sum }: Durations): string[] {
  const size = `image_size_in_bytes="${label}"`;
  let count = 0;
  const buckets = counts.map((own, i) => {
    count += own;
    return `${PULL_NAME}_bucket{${size},le="${PULL_BUCKETS[i] ?? '+Inf'}"} ${count}`;
  });
  return [...buckets, `${PULL_NAME}_sum{${size}} ${sum}`, `${PULL_NAME}_count{${size}} ${count}`];
}

function sizeLabel(sizeBytes: number | undefined): string {
  if (sizeBytes === undefined) return SIZE_LABEL_UNKNOWN;
  return SIZE_LABELS.find(([limit]) => sizeBytes < limit)?.[1] ?? SIZE_LABEL_MAX;
}
