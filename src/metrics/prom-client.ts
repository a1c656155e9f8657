/**
 * The metrics of managers in registries of prom-client, an optional peer dependency.
 *
 * prom-client is never imported here: the caller hands over its own copy, so that registry and
 * metrics are of one kind. Nothing is counted twice: every scrape reads the shared counters.
 */
import { closedError, invalidArgument } from '../errors.ts';
import { METRIC_FAMILIES, type MetricFamily, type MetricValues } from './exposition.ts';

/** What is needed of a metric of prom-client. */
export interface PromMetric {
  reset(): void;
  set?(labels: Record<string, string>, value: number): void;
  inc?(labels: Record<string, string>, value: number): void;
}

/** What is needed of a `Registry` of prom-client. */
export interface PromRegistry {
  getSingleMetric(name: string): unknown;
  removeSingleMetric(name: string): void;
}

// biome-ignore lint/suspicious/noExplicitAny: the classes of prom-client are generic in their labels
export type PromMetricClass = new (configuration: any) => PromMetric;

/** What is needed of the module `prom-client`. */
export interface PromClient {
  readonly Counter: PromMetricClass;
  readonly Gauge: PromMetricClass;
  readonly register: PromRegistry;
}

/** Where the metrics of a manager go. */
export interface PromClientCollectorOptions {
  /** The module: `import * as promClient from 'prom-client'`. */
  readonly promClient: PromClient;
  /** @default the global registry of the module */
  readonly registry?: PromRegistry;
  /**
   * Labels that tell the managers of one registry apart: the same names for each, other values.
   * `result` is taken. @default none
   */
  readonly labels?: Readonly<Record<string, string>>;
}

/** What is needed of a `PullManager`. */
export interface MetricsSource {
  metricValues(): MetricValues;
  readonly closing: AbortSignal;
}

/** The metrics of one manager in one registry. */
export interface PromClientCollector extends Disposable {
  /** Takes them out of the registry. Idempotent. */
  remove(): void;
}

/** The managers whose metrics a registry has. */
interface Registration {
  readonly metrics: ReadonlyMap<string, PromMetric>;
  readonly labelNames: readonly string[];
  readonly members: Map<string, Member>;
}

interface Member {
  readonly labels: Readonly<Record<string, string>>;
  readonly source: MetricsSource;
}

const registrations = new WeakMap<PromRegistry, Registration>();

/**
 * Registers the metrics of a manager, the same that `PullManager.metrics` prints, with a registry of
 * prom-client. They leave it with `remove` or when the manager begins to close.
 *
 * ```js
 * import * as promClient from 'prom-client';
 *
 * const collector = promClientCollector(manager, { promClient });
 * await promClient.register.metrics();
 * collector.remove();
 * ```
 *
 * Several managers share a registry if their `labels` differ; a manager may be in several registries.
 * Counters are those of the engine, so of its managers in different threads one is enough.
 *
 * @throws `INVALID_ARGUMENT` for malformed options, labels that are taken in this registry or have
 * other names there, and where it has metrics of these names from elsewhere; `CLOSED`.
 */
export function promClientCollector(
  source: MetricsSource,
  options: PromClientCollectorOptions,
): PromClientCollector {
  const { promClient, registry, labels } = checkOptions(options);
  if (source.closing.aborted) throw closedError('promClientCollector');
  const labelNames = Object.keys(labels).sort();
  const key = JSON.stringify(labelNames.map((name) => labels[name]));
  const registration = registrationOf(registry) ?? register(promClient, registry, labelNames);
  if (registration.labelNames.join() !== labelNames.join()) {
    throw invalidArgument('options.labels', 'must have the names that this registry has already');
  }
  const { members } = registration;
  if (members.has(key)) {
    throw invalidArgument('options.labels', 'are those of another manager in this registry');
  }
  const member: Member = { labels, source };
  members.set(key, member);
  const remove = (): void => {
    source.closing.removeEventListener('abort', remove);
    if (members.get(key) !== member) return;
    members.delete(key);
    if (members.size > 0 || registrationOf(registry) !== registration) return;
    registrations.delete(registry);
    for (const name of registration.metrics.keys()) registry.removeSingleMetric(name);
  };
  source.closing.addEventListener('abort', remove, { once: true });
  return { remove, [Symbol.dispose]: remove };
}

/** What is registered, unless the registry was cleared since. */
function registrationOf(registry: PromRegistry): Registration | undefined {
  const registration = registrations.get(registry);
  for (const [name, metric] of registration?.metrics ?? []) {
    if (registry.getSingleMetric(name) !== metric) return undefined;
  }
  return registration;
}

function register(
  promClient: PromClient,
  registry: PromRegistry,
  labelNames: readonly string[],
): Registration {
  for (const { name } of METRIC_FAMILIES) {
    if (registry.getSingleMetric(name) !== undefined) {
      throw invalidArgument('options.registry', `has a metric ${name} from elsewhere`);
    }
  }
  const members = new Map<string, Member>();
  const metrics = new Map<string, PromMetric>();
  for (const family of METRIC_FAMILIES) {
    const { name, help } = family;
    const Metric = promClient[family.type === 'gauge' ? 'Gauge' : 'Counter'];
    const metric = new Metric({
      name,
      help,
      labelNames: [...labelNames, ...family.labelNames],
      registers: [registry],
      collect(this: PromMetric) {
        collect(this, family, members.values());
      },
    });
    metrics.set(name, metric);
  }
  const registration = { metrics, labelNames, members };
  registrations.set(registry, registration);
  return registration;
}

/** Sets a metric of prom-client to what the counters say now. */
function collect(metric: PromMetric, family: MetricFamily, members: Iterable<Member>): void {
  metric.reset();
  for (const { labels, source } of members) {
    for (const sample of family.read(source.metricValues())) {
      const all = { ...labels, ...sample.labels };
      if (family.type === 'gauge') metric.set?.(all, sample.value);
      else metric.inc?.(all, sample.value);
    }
  }
}

const LABEL_NAME = /^(?!__)[A-Za-z_]\w*$/;

function checkOptions(options: PromClientCollectorOptions): Required<PromClientCollectorOptions> {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'must be an object');
  }
  const { promClient, labels = {} } = options;
  if (typeof promClient?.Gauge !== 'function' || typeof promClient.Counter !== 'function') {
    throw invalidArgument('options.promClient', 'must be the module prom-client');
  }
  const registry = options.registry ?? promClient.register;
  if (typeof registry?.removeSingleMetric !== 'function') {
    throw invalidArgument('options.registry', 'must be a registry of prom-client');
  }
  if (typeof labels !== 'object' || labels === null) {
    throw invalidArgument('options.labels', 'must be an object');
  }
  for (const [name, value] of Object.entries(labels)) {
    const isTaken = METRIC_FAMILIES.some(({ labelNames }) => labelNames.includes(name));
    if (!LABEL_NAME.test(name) || isTaken) {
      throw invalidArgument('options.labels', `must not have a label ${JSON.stringify(name)}`);
    }
    if (typeof value !== 'string')
      throw invalidArgument(`options.labels.${name}`, 'must be a string');
  }
  return { promClient, registry, labels: { ...labels } };
}
