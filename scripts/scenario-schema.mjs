/**
 * Writes `docs/scenario.schema.json` from the tables that parse scenarios, or checks that it is what
 * they say. Runs on the build.
 *
 *   node scripts/scenario-schema.mjs            writes it
 *   node scripts/scenario-schema.mjs --check    exit code 1 if it is out of date
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { scenarioSchema } from '../dist/src/storm/scenario-schema.js';
import { ROOT } from './build.mjs';

const TARGET = join(ROOT, 'docs', 'scenario.schema.json');
const text = `${JSON.stringify(scenarioSchema(), undefined, 2)}\n`;

if (process.argv.includes('--check')) {
  const isSame = readFileSync(TARGET, 'utf8') === text;
  if (!isSame) console.error('out of date: docs/scenario.schema.json; run npm run docs:api');
  process.exitCode = isSame ? 0 : 1;
} else {
  writeFileSync(TARGET, text);
}
