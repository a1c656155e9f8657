/** Whether a pod may use what is on the node, without making it so. */
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { ImagePullManager } from '../../src/image-pull-manager.ts';
import { type CheckImageRequest, ImageManager } from '../../src/index.ts';
import { type Bench, ensure, gate, lost, openBench, PRIVATE, PRIVATE_ID, secretOf } from './kit.ts';

const IMPORTED = 'imported.example.com/app:1';
let bench: Bench;

beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench[Symbol.asyncDispose]());

const by = (user: string): CheckImageRequest => ({ image: PRIVATE, credentials: [secretOf(user)] });

describe('ImageManager.check', () => {
  it('says who may use an image and why, and changes nothing', async () => {
    const { images, runtime, pullManager } = bench;
    const absent = await images.check(by('a'));
    expect(absent).toMatchObject({ imageRef: '', mustPull: true, reason: 'mustAuthenticate' });
    await images.ensureImage(ensure);
    const { calls } = runtime;
    const before = calls.filter((call) => !call.startsWith('status'));
    expect(await images.check(by('a'))).toEqual({
      imageRef: PRIVATE_ID,
      mustPull: false,
      reason: 'credentialRecordFound',
      detail: 'A pull secret of the pod has opened this image before.',
    });
    expect(await images.check(by('b'))).toMatchObject({ mustPull: true });
    expect(await images.check({ image: PRIVATE })).toMatchObject({ mustPull: true });
    expect(calls.filter((call) => !call.startsWith('status'))).toEqual(before);
    expect((await pullManager.listImagePullIntents()).records).toEqual([]);
  });

  it.each([
    ['the same secret of another tenant', { ...secretOf('a'), source: secretOf('b').source }],
    ['the secret with other content', { ...secretOf('b'), source: secretOf('a').source }],
  ])('records nothing of %s', async (_, credential) => {
    const { images, pullManager } = bench;
    await images.ensureImage(ensure);
    const before = await pullManager.getImagePulledRecord(PRIVATE_ID);
    for (const credentials of [[credential], async () => [credential]]) {
      const checked = await images.check({ image: PRIVATE, credentials });
      expect(checked).toMatchObject({ mustPull: false, reason: 'credentialRecordFound' });
    }
    expect(await pullManager.getImagePulledRecord(PRIVATE_ID)).toEqual(before);
    expect(await images.ensureImage({ ...ensure, credentials: [credential] })).toMatchObject({
      pulled: false,
    });
    expect(await pullManager.getImagePulledRecord(PRIVATE_ID)).not.toEqual(before);
  });

  it('does not ask the runtime for a copy that is named by its id', async () => {
    const { images, runtime } = bench;
    await images.ensureImage(ensure);
    runtime.onStatus = () => Promise.reject(lost());
    expect(await images.check({ ...by('a'), imageRef: PRIVATE_ID })).toMatchObject({
      imageRef: PRIVATE_ID,
      mustPull: false,
    });
    await expect(images.check(by('a'))).rejects.toMatchObject({ code: 'ErrImageInspect' });
  });

  it('takes credentials that cannot be looked up for none, and says so', async () => {
    const { images } = bench;
    await images.ensureImage(ensure);
    const credentials = (): Promise<never> => Promise.reject(new Error('vault: sealed'));
    const checked = await images.check({ image: PRIVATE, credentials });
    expect(checked).toMatchObject({ mustPull: true, reason: 'error' });
    expect(checked.cause).toMatchObject({ code: 'ERR_PULLMANAGER_CREDENTIALS_SOURCE_FAILED' });
    expect(JSON.stringify({ ...checked, cause: undefined })).not.toContain('sealed');
  });

  it('decides as ensureImage does for an image that nobody has recorded', async () => {
    const { images, runtime } = bench;
    runtime.have(IMPORTED, 'sha256:imported');
    expect(await images.check({ image: IMPORTED })).toMatchObject({
      imageRef: 'sha256:imported',
      mustPull: false,
      reason: 'credentialPolicyAllowed',
    });
  });

  it.each([false, true, undefined, 0, 'no'])(
    'lets in only by false, where a pull manager that gives no reasons answers %j',
    async (answer) => {
      const { runtime, pullManager } = bench;
      const own: ImagePullManager = {
        recordPullIntent: (image) => pullManager.recordPullIntent(image),
        recordImagePulled: (...pulled) => pullManager.recordImagePulled(...pulled),
        recordImagePullFailed: (image) => pullManager.recordImagePullFailed(image),
        mustAttemptImagePull: async () => answer as boolean,
        pruneUnknownRecords: (refs, until) => pullManager.pruneUnknownRecords(refs, until),
      };
      await using images = new ImageManager({ pullManager: own, runtime });
      runtime.have(IMPORTED, 'sha256:imported');
      expect(await images.check({ image: IMPORTED })).toEqual({
        imageRef: 'sha256:imported',
        mustPull: answer !== false,
      });
    },
  );

  it('names the field that is wrong', async () => {
    const { images } = bench;
    for (const [wrong, argument] of [
      [undefined, 'request'],
      [{ image: 7 }, 'request.image'],
      [{ image: 'a', imageRef: 1 }, 'request.imageRef'],
      [{ image: 'a', credentials: {} }, 'request.credentials'],
    ] as const) {
      await expect(images.check(wrong as never)).rejects.toMatchObject({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        argument,
      });
    }
  });

  it('refuses what is no image name', async () => {
    const refused = { code: 'ErrInvalidImageName' };
    await expect(bench.images.check({ image: 'No Name' })).rejects.toMatchObject(refused);
  });

  it('ends with its caller, and with the image manager', async () => {
    const { images, runtime } = bench;
    const asked = gate();
    runtime.onStatus = () => {
      asked.open();
      return new Promise(() => {});
    };
    const controller = new AbortController();
    const aborted = images.check(by('a'), { signal: controller.signal });
    await asked.promise;
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
    const closed = images.check(by('a'));
    const refused = { code: 'ERR_PULLMANAGER_CLOSED' };
    const isRefused = expect(closed).rejects.toMatchObject(refused);
    await images.close();
    await isRefused;
    await expect(images.check(by('a'))).rejects.toMatchObject(refused);
  });
});
