/** What the contract says of closing, of opening again, and of damage. */
import type { RecordWrite } from '../accessors/accessor.ts';
import { errorCode } from '../errors.ts';
import { codeOf, same } from './expect.ts';
import type { Law } from './law.ts';
import { comparableList, record, secrets, TRICKY_TEXTS } from './samples.ts';

export const LAWS_OF_LIFE: readonly Law[] = [
  {
    name: 'fails every operation with CLOSED once it is closed, and closes twice',
    check: async (trial) => {
      const { accessor } = trial;
      await accessor.writeImagePullIntent('a');
      await accessor.close();
      await accessor.close();
      const operations: Record<string, () => unknown> = {
        listImagePullIntents: () => accessor.listImagePullIntents(),
        imagePullIntentExists: () => accessor.imagePullIntentExists('a'),
        writeImagePullIntent: () => accessor.writeImagePullIntent('a'),
        deleteImagePullIntent: () => accessor.deleteImagePullIntent('a'),
        listImagePulledRecords: () => accessor.listImagePulledRecords(),
        getImagePulledRecord: () => accessor.getImagePulledRecord('a'),
        writeImagePulledRecord: () => accessor.writeImagePulledRecord(record('a')),
        deleteImagePulledRecord: () => accessor.deleteImagePulledRecord('a'),
        commit: () => accessor.commit([{ op: 'writeIntent', image: 'a' }]),
      };
      for (const [name, run] of Object.entries(operations)) {
        trial.expectCodes([await codeOf(run)], 'CLOSED', name);
      }
    },
  },
  {
    name: 'keeps everything, and only that, when it is opened again',
    lacks: ({ store }) => (store.reopen === undefined ? 'a way to open it again' : undefined),
    check: async (trial) => {
      const kept = TRICKY_TEXTS.map((text, i) => record(text, { [text]: secrets(2, `h${i}`) }, i));
      await trial.accessor.commit([
        ...TRICKY_TEXTS.map((image): RecordWrite => ({ op: 'writeIntent', image })),
        ...kept.map((one): RecordWrite => ({ op: 'writePulled', record: one })),
        { op: 'writeIntent', image: 'gone' },
        { op: 'writePulled', record: record('gone') },
      ]);
      await trial.accessor.commit([
        { op: 'deleteIntent', image: 'gone' },
        { op: 'deletePulled', imageRef: 'gone' },
      ]);
      for (let round = 0; round < 2; round++) {
        trial.accessor = await trial.store.reopen!();
        await trial.expectIntents(TRICKY_TEXTS);
        await trial.expectPulled(kept);
        await trial.expectIntent('gone', false);
        await trial.expectRecord('gone', undefined);
      }
    },
  },
  {
    name: 'calls a damaged record damaged, never absent, and lists the others',
    lacks: ({ store }) =>
      store.corruptPulled === undefined ? 'a way to damage records' : undefined,
    check: async (trial) => {
      const { accessor } = trial;
      const corruptPulled = trial.store.corruptPulled!;
      const sound = record('sound', { name: secrets(1) });
      await accessor.commit([
        { op: 'writePulled', record: sound },
        { op: 'writePulled', record: record('damaged', { name: secrets(1) }) },
      ]);
      await corruptPulled('damaged');
      const get = (): unknown => accessor.getImagePulledRecord('damaged');
      trial.expectCodes([await codeOf(get)], 'RECORD_CORRUPT', 'getImagePulledRecord');
      await trial.expectRecord('sound', sound);
      const listing = await accessor.listImagePulledRecords();
      const { timeResolutionMs } = trial.capabilities;
      const expected = comparableList([sound], timeResolutionMs);
      same(comparableList(listing.records, timeResolutionMs), expected, 'the listing of records');
      trial.expectCodes(listing.errors.map(errorCode), 'RECORD_CORRUPT', 'the listing');
      const again = record('damaged', { name: secrets(2) });
      await accessor.writeImagePulledRecord(again);
      await trial.expectRecord('damaged', again);
      await corruptPulled('damaged');
      await accessor.deleteImagePulledRecord('damaged');
      await trial.expectRecord('damaged', undefined);
      await trial.expectPulled([sound]);
    },
  },
  {
    name: 'calls a damaged intent damaged, never absent, and lists the others',
    lacks: ({ store }) =>
      store.corruptIntent === undefined ? 'a way to damage intents' : undefined,
    check: async (trial) => {
      const { accessor } = trial;
      await accessor.writeImagePullIntent('sound');
      await accessor.writeImagePullIntent('damaged');
      await trial.store.corruptIntent!('damaged');
      const exists = (): unknown => accessor.imagePullIntentExists('damaged');
      trial.expectCodes([await codeOf(exists)], 'RECORD_CORRUPT', 'imagePullIntentExists');
      const listing = await accessor.listImagePullIntents();
      same(
        listing.records.map(({ image }) => image),
        ['sound'],
        'the listing of intents',
      );
      trial.expectCodes(listing.errors.map(errorCode), 'RECORD_CORRUPT', 'the listing');
      await accessor.writeImagePullIntent('damaged');
      await trial.expectIntents(['damaged', 'sound']);
    },
  },
];
