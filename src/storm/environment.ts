/** The machine and the programs that a storm runs on. */
import { readFileSync } from 'node:fs';
import { availableParallelism, cpus, release, totalmem } from 'node:os';
import type { Environment } from './result-schema.ts';

/** What this process runs on. */
export function environment(): Environment {
  return {
    cpu: cpus()[0]?.model.trim() ?? 'unknown',
    cores: availableParallelism(),
    memoryBytes: totalmem(),
    platform: `${process.platform} ${release()} ${process.arch}`,
    node: process.version,
    pullwarden: version(),
  };
}

function version(): string {
  // The same file from a checkout (src/storm) and from the build (dist/src/storm).
  const up = import.meta.url.endsWith('.js') ? '../../../' : '../../';
  const text = readFileSync(new URL(`${up}package.json`, import.meta.url), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
