import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { EVENT_CHANNELS } from '../../src/events/channels.ts';
import { examplesOf, printedBy } from '../support/documents.ts';

const EXAMPLES = examplesOf('events.md');
const DOCUMENT = readFileSync(new URL('../../docs/events.md', import.meta.url), 'utf8');

describe('docs/events.md', () => {
  it('has examples', () => {
    expect(EXAMPLES).toHaveLength(2);
  });

  it.each(EXAMPLES)('prints at line $line what it says it prints', async ({ code, output }) => {
    expect(await printedBy(code)).toBe(output);
  });

  it.each(Object.entries(EVENT_CHANNELS))('describes %s under its channel', (event, channel) => {
    expect(DOCUMENT).toMatch(new RegExp(`^\\| \`${event}\` +\\| \`${channel}\` +\\|`, 'm'));
  });
});
