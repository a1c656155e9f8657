/** What the contract says of keys, of single writes and of batches. */
import type { RecordWrite } from '../accessors/accessor.ts';
import type { ImagePullCredentials } from '../records/record.ts';
import { same } from './expect.ts';
import type { Law } from './law.ts';
import { record, secrets, TRICKY_TEXTS } from './samples.ts';

const LONE_SURROGATES: readonly string[] = [
  '\ud800',
  '\udfff',
  'a\ud800b',
  '\udc00\ud800',
  `${'x'.repeat(5000)}\ud83d`,
];

/** Lone surrogates have a law whose name says how the store takes them. */
export function lawsOfKeys(loneSurrogates?: 'distinct' | 'replaced'): readonly Law[] {
  return [
    {
      name: 'is empty at first, and absence is an answer',
      check: async (trial) => {
        await trial.expectIntents([]);
        await trial.expectPulled([]);
        await trial.expectIntent('a', false);
        await trial.expectRecord('a', undefined);
      },
    },
    {
      name: 'deletes what is not there without an error',
      check: async (trial) => {
        await trial.accessor.deleteImagePullIntent('a');
        await trial.accessor.deleteImagePulledRecord('a');
        await trial.accessor.commit([
          { op: 'deleteIntent', image: 'b' },
          { op: 'deletePulled', imageRef: 'b' },
        ]);
        await trial.expectIntents([]);
        await trial.expectPulled([]);
      },
    },
    {
      name: 'keeps one intent per image, however often it is written, until it is deleted',
      check: async (trial) => {
        await trial.accessor.writeImagePullIntent('a');
        await trial.accessor.writeImagePullIntent('a');
        await trial.accessor.writeImagePullIntent('b');
        await trial.expectIntent('a', true);
        await trial.expectIntents(['a', 'b']);
        await trial.accessor.deleteImagePullIntent('a');
        await trial.expectIntent('a', false);
        await trial.expectIntent('b', true);
        await trial.expectIntents(['b']);
      },
    },
    {
      name: 'keeps one record per imageRef: the last one written, until it is deleted',
      check: async (trial) => {
        const first = record('ref', { name: secrets(1) });
        const second = record('ref', { other: { nodePodsAccessible: true } });
        await trial.accessor.writeImagePulledRecord(first);
        await trial.expectRecord('ref', first);
        await trial.accessor.writeImagePulledRecord(second);
        await trial.expectRecord('ref', second);
        await trial.expectPulled([second]);
        await trial.accessor.deleteImagePulledRecord('ref');
        await trial.expectRecord('ref', undefined);
        await trial.expectPulled([]);
      },
    },
    {
      name: 'does not mix up intents and records of one text',
      check: async (trial) => {
        await trial.accessor.writeImagePullIntent('same');
        await trial.expectRecord('same', undefined);
        await trial.accessor.writeImagePulledRecord(record('same'));
        await trial.accessor.deleteImagePullIntent('same');
        await trial.expectIntent('same', false);
        await trial.expectRecord('same', record('same'));
      },
    },
    {
      name: 'commits nothing, one, and thousands of writes',
      check: async (trial) => {
        await trial.accessor.commit([]);
        await trial.accessor.commit([{ op: 'writeIntent', image: 'one' }]);
        const batch: RecordWrite[] = [];
        for (let i = 0; i < 2000; i++) {
          batch.push({ op: 'writeIntent', image: `image-${i}` });
          batch.push({ op: 'writePulled', record: record(`ref-${i}`, { name: secrets(1) }) });
        }
        await trial.accessor.commit(batch);
        same((await trial.intents()).length, 2001, 'the number of intents');
        same((await trial.pulled()).length, 2000, 'the number of records');
      },
    },
    {
      name: 'applies the writes of a batch in their order',
      check: async (trial) => {
        const last = record('ref', { name: secrets(2) });
        await trial.accessor.commit([
          { op: 'writeIntent', image: 'kept' },
          { op: 'deleteIntent', image: 'kept' },
          { op: 'writeIntent', image: 'kept' },
          { op: 'writeIntent', image: 'gone' },
          { op: 'deleteIntent', image: 'gone' },
          { op: 'writePulled', record: record('ref', { name: secrets(1) }) },
          { op: 'deletePulled', imageRef: 'ref' },
          { op: 'writePulled', record: record('ref') },
          { op: 'writePulled', record: last },
          { op: 'writePulled', record: record('gone') },
          { op: 'deletePulled', imageRef: 'gone' },
        ]);
        await trial.expectIntents(['kept']);
        await trial.expectPulled([last]);
      },
    },
    {
      name: 'applies commits that overlap in call order',
      lacks: ({ capabilities }) =>
        capabilities.overlappingCommits === true ? undefined : 'commits that may overlap',
      check: async (trial) => {
        const commits: unknown[] = [];
        for (let i = 0; i < 100; i++) {
          commits.push(
            trial.accessor.commit([{ op: 'writePulled', record: record('ref', {}, i) }]),
          );
          commits.push(trial.accessor.commit([{ op: 'writeIntent', image: 'a' }]));
          commits.push(trial.accessor.commit([{ op: 'deleteIntent', image: 'a' }]));
        }
        await Promise.all(commits);
        await trial.expectRecord('ref', record('ref', {}, 99));
        await trial.expectIntents([]);
      },
    },
    {
      name: 'tells apart texts of every kind, as key of either and as name in a mapping',
      check: async (trial) => {
        const mapping = Object.create(null) as Record<string, ImagePullCredentials>;
        TRICKY_TEXTS.forEach((text, i) => {
          mapping[text] = secrets(1, `hash-${i}`);
        });
        const all = TRICKY_TEXTS.map((text, i) => record(text, { name: secrets(1, `hash-${i}`) }));
        const allNames = record('all names', mapping);
        await trial.accessor.commit([
          ...TRICKY_TEXTS.map((image): RecordWrite => ({ op: 'writeIntent', image })),
          ...all.map((one): RecordWrite => ({ op: 'writePulled', record: one })),
          { op: 'writePulled', record: allNames },
        ]);
        for (const [i, text] of TRICKY_TEXTS.entries()) {
          await trial.expectIntent(text, true);
          await trial.expectRecord(text, all[i]);
        }
        await trial.expectRecord('all names', allNames);
        await trial.expectIntents(TRICKY_TEXTS);
        const left = new Set(TRICKY_TEXTS);
        for (const text of TRICKY_TEXTS) {
          await trial.accessor.deleteImagePullIntent(text);
          left.delete(text);
          await trial.expectIntents([...left]);
        }
        for (const [i, text] of TRICKY_TEXTS.entries()) {
          await trial.accessor.deleteImagePulledRecord(text);
          await trial.expectRecord(text, undefined);
          await trial.expectPulled([...all.slice(i + 1), allNames]);
        }
      },
    },
    {
      name: `takes texts with lone surrogates (${loneSurrogates ?? 'distinct or replaced'})`,
      check: async (trial) => {
        for (const text of LONE_SURROGATES) {
          const written = record(text, { [text]: secrets(1) });
          await trial.accessor.writeImagePullIntent(text);
          await trial.expectIntent(text, true);
          await trial.accessor.writeImagePulledRecord(written);
          if (loneSurrogates === 'distinct') await trial.expectRecord(text, written);
        }
        if (loneSurrogates !== 'distinct') return;
        await trial.expectIntents(LONE_SURROGATES);
        await trial.expectIntent('\ufffd', false);
        await trial.expectRecord('\ufffd', undefined);
      },
    },
  ];
}
