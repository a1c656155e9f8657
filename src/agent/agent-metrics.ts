/** What the agent counts of its own work, as Prometheus text. */
import type { RuntimeState } from './runtime-watch.ts';
import type { AgentServer, Served } from './server.ts';

/** Counted by one thread. */
export class AgentMetrics {
  readonly #requests = new Map<string, number>();
  readonly #seconds = new Map<string, number>();

  /** Counts a request. */
  served({ method, route, status, durationMs }: Served): void {
    // Methods are the client's words: those that no route has are one.
    const verb = ['GET', 'HEAD', 'POST'].includes(method) ? method : 'other';
    add(this.#requests, `{method="${verb}",route="${route}",status="${status}"}`, 1);
    add(this.#seconds, `{route="${route}"}`, durationMs / 1_000);
  }

  /** The exposition, version 0.0.4 of the text format. */
  exposition(
    server: Pick<AgentServer, 'callCount' | 'connectionCount' | 'refusedCount'>,
    runtime: RuntimeState | undefined,
  ): string {
    const lines = [
      ...family(
        'requests_total',
        'counter',
        'Requests by route and status; 0: the client hung up.',
      ),
      ...samples('requests_total', this.#requests),
      ...family('request_seconds_total', 'counter', 'Time taken by requests, by route.'),
      ...samples('request_seconds_total', this.#seconds),
      ...family('requests_in_flight', 'gauge', 'Requests that are being served.'),
      `${PREFIX}requests_in_flight ${server.callCount}`,
      ...family('connections', 'gauge', 'Open connections.'),
      `${PREFIX}connections ${server.connectionCount}`,
      ...family('connections_refused_total', 'counter', 'Connections above the limit.'),
      `${PREFIX}connections_refused_total ${server.refusedCount}`,
      ...family('runtime_reachable', 'gauge', 'Whether the container runtime answers: 1 or 0.'),
      ...(runtime === undefined || runtime === 'unknown'
        ? []
        : [`${PREFIX}runtime_reachable ${runtime === 'reachable' ? 1 : 0}`]),
    ];
    return `${lines.join('\n')}\n`;
  }
}

const PREFIX = 'pullwarden_agent_';

function add(counts: Map<string, number>, labels: string, value: number): void {
  counts.set(labels, (counts.get(labels) ?? 0) + value);
}

function family(name: string, type: string, help: string): string[] {
  return [`# HELP ${PREFIX}${name} ${help}`, `# TYPE ${PREFIX}${name} ${type}`];
}

function samples(name: string, counts: ReadonlyMap<string, number>): string[] {
  return Array.from(counts, ([labels, count]) => `${PREFIX}${name}${labels} ${count}`);
}
