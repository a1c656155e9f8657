import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { record } from '../../conformance/accessor-suite.ts';
import { type KubeletUnderTest, openTemporary, PlainKubelet, settled } from './kit.ts';

/** Files lag behind as soon as there are any, and writers wait for them nearly always. */
const TIGHT = {
  writeBehind: { delayMs: 0, eagerKeys: 1, keysMax: 3, redoBytesMax: 4_096 },
  redo: { segmentBytesMin: 4_096, segmentBytesMax: 4_096 },
};
const ROUNDS = 60;
const WRITERS = 4;

let store: KubeletUnderTest;

describe.each([true, false])(
  'writers that wait for files, in a thread that may block: %s',
  (mayBlock) => {
    beforeEach(async () => {
      store = await openTemporary({ tuning: TIGHT, context: { mayBlock } });
    });
    afterEach(() => store.dispose());

    it('are never told that others change the files, where nobody does', async () => {
      const { accessor, dir } = store;
      const write = async (writer: number): Promise<void> => {
        for (let round = 0; round < ROUNDS; round++) {
          // The same key again and again: a pass that is under way places what is out of date by then.
          await accessor.writeImagePullIntent(`popular-${round % 2}`);
          await accessor.writeImagePullIntent(`own-${writer}-${round}`);
          await accessor.deleteImagePullIntent(`own-${writer}-${round - 1}`);
          await accessor.deleteImagePullIntent(`popular-${round % 2}`);
        }
      };
      await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
      await store.close();
      expect(await new PlainKubelet(dir).names('pulling')).toHaveLength(WRITERS);
    });
  },
);

describe('a writer whose files others replace again and again', () => {
  it('is told so where nothing but those files lags behind, and goes on once they were looked at', async () => {
    const refs = ['a', 'b', 'c'];
    store = await openTemporary();
    for (const ref of refs) await store.accessor.writeImagePulledRecord(record(ref));
    await settled(store.accessor);
    // From here on files are written, and looked at, only where that has to be.
    const accessor = await store.reopen({
      tuning: { writeBehind: { delayMs: 60_000, keysMax: refs.length } },
    });
    const kubelet = new PlainKubelet(store.dir);
    for (const ref of refs) {
      await accessor.writeImagePulledRecord({ ...record(ref), lastUpdatedTime: new Date(0) });
      await kubelet.writePulled(record(ref));
    }
    await expect(accessor.writeImagePullIntent('app')).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
      message: expect.stringMatching(/others are changing them$/),
    });
    expect(await accessor.imagePullIntentExists('app')).toBe(false);
    accessor.takeForeignChanges!();
    await accessor.writeImagePullIntent('app');
    expect(await accessor.imagePullIntentExists('app')).toBe(true);
    await store.dispose();
  });
});
