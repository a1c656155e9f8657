import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, describe, expect, it, vi } from 'vitest';
import type { ImageManagerEvents } from '../../src/events/messages.ts';
import { ImageManager } from '../../src/image-manager/image-manager.ts';
import { OpenNames } from '../../src/image-manager/open-names.ts';
import { RecordKeeper } from '../../src/image-manager/record-keeper.ts';
import { UnansweredPulls } from '../../src/image-manager/unanswered-pulls.ts';
import { resolveLogger } from '../../src/logger.ts';
import { PullManager } from '../../src/pull-manager.ts';
import {
  type Bench,
  ensure,
  failed,
  gate,
  intentsOf,
  lost,
  openBench,
  PRIVATE,
  PRIVATE_ID,
  PUBLIC,
  PUBLIC_ID,
  ScriptedRuntime,
  secretOf,
  until,
} from './kit.ts';

let bench: Bench;
afterEach(async () => {
  await bench[Symbol.asyncDispose]();
});

function settledPulls(): ImageManagerEvents['unansweredPullSettled'][] {
  const settled: ImageManagerEvents['unansweredPullSettled'][] = [];
  bench.images.on('unansweredPullSettled', (message) => settled.push(message));
  return settled;
}

/** Whether a pod without any credentials would be let in. */
async function isOpenToAll(): Promise<boolean> {
  return !(await bench.pullManager.mustAttemptImagePull(PRIVATE, PRIVATE_ID));
}

describe('a pull that the runtime did not answer', () => {
  it('keeps its intent until the image is known to be absent', async () => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    const settled = settledPulls();
    runtime.onPull = () => Promise.reject(lost());
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    await until(() => settled.length > 0);
    expect(settled).toMatchObject([{ image: PRIVATE, became: 'absent' }]);
    expect(await intentsOf(pullManager)).toEqual([]);
  });

  it('leaves an image that appears later to nobody but who shows a proof', async () => {
    // Looked at three times and more, of which it is there from the third on.
    bench = await openBench({ unansweredGraceMs: 400 });
    const { runtime, images, pullManager } = bench;
    const settled = settledPulls();
    runtime.onPull = () => {
      // The runtime goes on, and is done when its caller has long gone.
      void until(() => runtime.calls.filter((call) => call.startsWith('status')).length > 2).then(
        () => runtime.have(PRIVATE, PRIVATE_ID),
      );
      return Promise.reject(lost());
    };
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    while (settled.length === 0) {
      expect(await isOpenToAll()).toBe(false);
      await new Promise((resolve) => setImmediate(resolve));
    }
    expect(settled).toMatchObject([{ became: 'present' }]);
    expect(await intentsOf(pullManager)).toEqual([]);
    expect(await isOpenToAll()).toBe(false);
    const record = await pullManager.getImagePulledRecord(PRIVATE_ID);
    expect(record!.credentialMapping).toEqual({});
    runtime.onPull = undefined;
    expect((await images.ensureImage({ ...ensure, podUid: 'next' })).pulled).toBe(true);
  });

  it('does not take the silence of a dead runtime for absence', async () => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    const settled = settledPulls();
    runtime.onPull = () => Promise.reject(lost());
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    runtime.onStatus = () => Promise.reject(lost());
    const looks = runtime.calls.length;
    await until(() => runtime.calls.length > looks + 3);
    expect(settled).toEqual([]);
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    runtime.have(PRIVATE, PRIVATE_ID);
    runtime.onStatus = undefined;
    await until(() => settled.length > 0);
    expect(settled).toMatchObject([{ became: 'present' }]);
    expect(await isOpenToAll()).toBe(false);
  });

  it('is not ended by the end of another pull, nor does it end one', async () => {
    bench = await openBench({ unansweredGraceMs: 200 });
    const { runtime, images, pullManager } = bench;
    const settled = settledPulls();
    runtime.onPull = () => Promise.reject(lost());
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    // Another tenant's pull of the same image comes and goes.
    runtime.onPull = undefined;
    await expect(
      images.ensureImage({ ...ensure, podUid: 'c', credentials: [secretOf('c')] }),
    ).rejects.toMatchObject({ code: 'ErrImagePull' });
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    // One that is under way while the unanswered one is settled keeps its intent.
    const answer = gate<string>();
    runtime.onPull = () => answer.promise;
    const ensured = images.ensureImage({ ...ensure, podUid: 'b', credentials: [secretOf('b')] });
    await until(() => settled.length > 0);
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    answer.open(runtime.pullNow(PRIVATE, secretOf('b').auth));
    await ensured;
    expect(await intentsOf(pullManager)).toEqual([]);
  });

  it('is settled once for all that were left open of one image', async () => {
    bench = await openBench({ unansweredGraceMs: 200 });
    const { runtime, images, pullManager } = bench;
    const settled = settledPulls();
    runtime.onPull = () => Promise.reject(lost());
    for (const podUid of ['1', '2', '3']) {
      await expect(images.ensureImage({ ...ensure, podUid })).rejects.toThrow();
    }
    await until(() => settled.length > 0);
    expect(await intentsOf(pullManager)).toEqual([]);
    expect(settled).toHaveLength(1);
  });

  it('may have been answered with a failure, and the image is there all the same', async () => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    const settled = settledPulls();
    runtime.onPull = async () => {
      runtime.have(PRIVATE, PRIVATE_ID);
      throw failed('other', 'failed to unpack');
    };
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    expect(await isOpenToAll()).toBe(false);
    await until(() => settled.length > 0);
    expect(settled).toMatchObject([{ became: 'present' }]);
    expect(await isOpenToAll()).toBe(false);
  });

  it.each([
    ['that nobody looked for before', 'Always', undefined],
    ['to which the tag has moved', 'Always', 'sha256:older'],
    ['to which the tag has moved', 'IfNotPresent', 'sha256:older'],
  ] as const)('may have left an image %s, policy %s', async (_, pullPolicy, olderId) => {
    const policy = { kind: 'AlwaysVerify' } as const;
    bench = await openBench({}, pullPolicy === 'Always' ? {} : { policy });
    const { runtime, images, pullManager } = bench;
    if (olderId !== undefined) runtime.have(PRIVATE, olderId);
    const settled = settledPulls();
    runtime.onPull = async () => {
      runtime.have(PRIVATE, PRIVATE_ID);
      throw failed('registryUnavailable', 'dial unix /run/snapshotter.sock: refused');
    };
    const failing = { ...ensure, pullPolicy };
    await expect(images.ensureImage(failing)).rejects.toMatchObject({ code: 'ErrImagePull' });
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    await until(() => settled.length > 0);
    expect(settled).toMatchObject([{ became: 'present' }]);
    expect(await isOpenToAll()).toBe(false);
  });

  it('leaves a preloaded image to all when a pull of it fails', async () => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    runtime.have(PRIVATE, PRIVATE_ID);
    runtime.onPull = () => Promise.reject(failed('other', 'failed to unpack'));
    const always = { ...ensure, pullPolicy: 'Always' } as const;
    await expect(images.ensureImage(always)).rejects.toMatchObject({ code: 'ErrImagePull' });
    expect(await intentsOf(pullManager)).toEqual([]);
    expect(await isOpenToAll()).toBe(true);
  });

  it('may have brought back an image that was removed while it waited for its turn', async () => {
    bench = await openBench({ serializePulls: true });
    const { runtime, images, pullManager } = bench;
    await images.ensureImage(ensure);
    const answer = gate<string>();
    runtime.onPull = () => answer.promise;
    const other = images.ensureImage({ ...ensure, image: PUBLIC, podUid: 'other' });
    await until(() => runtime.pulls.length === 2);
    const second = { ...ensure, podUid: 'b', credentials: [secretOf('b')] };
    const failing = images.ensureImage(second);
    const isFailed = expect(failing).rejects.toMatchObject({ code: 'ErrImagePull' });
    await until(() => runtime.calls.at(-1) === `status ${PRIVATE}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
    await runtime.removeImage(PRIVATE);
    expect(await images.collect()).toMatchObject({ pruned: 1 });
    runtime.onPull = async () => {
      runtime.have(PRIVATE, PRIVATE_ID);
      throw failed('other', 'failed to unpack');
    };
    answer.open(PUBLIC_ID);
    await other;
    await isFailed;
    expect(await isOpenToAll()).toBe(false);
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    await until(async () => (await intentsOf(pullManager)).length === 0);
    expect(await isOpenToAll()).toBe(false);
  });

  /** Turns of promises, of which many pass before anything else has one. */
  function afterTurns(turns: number, run: () => void): void {
    if (turns === 0) run();
    else queueMicrotask(() => afterTurns(turns - 1, run));
  }

  it('is settled also where it comes when the last one has just been', async () => {
    const settled: string[] = [];
    for (let turns = 0; turns < 12; turns++) {
      const pullManager = { recordImagePullFailed: async () => {} } as unknown as PullManager;
      const pulls: UnansweredPulls = new UnansweredPulls({
        pullManager,
        runtime: new ScriptedRuntime(),
        keeper: new RecordKeeper(pullManager),
        openNames: new OpenNames(),
        graceMs: 0,
        logger: resolveLogger(undefined),
        onSettled: ({ image }) => {
          settled.push(`${image} ${turns}`);
          if (image === 'first') afterTurns(turns, () => pulls.add('second'));
        },
      });
      pulls.add('first');
      await until(() => settled.length > 2 * turns);
      await until(() => settled.length === 2 * (turns + 1));
    }
  });

  it('tries no further credentials: what comes of the first is not known', async () => {
    bench = await openBench();
    bench.runtime.onPull = () => Promise.reject(lost());
    const credentials = [secretOf('a'), secretOf('b')];
    await expect(bench.images.ensureImage({ ...ensure, credentials })).rejects.toThrow();
    expect(bench.runtime.pulls).toHaveLength(1);
  });

  it('may go on after an abort, whatever the runtime then rejects with', async () => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    const pulling = gate();
    runtime.onPull = (_, __, signal) =>
      new Promise((_resolve, reject) => {
        pulling.open();
        signal!.addEventListener('abort', () => reject(new Error('gave up')));
      });
    const controller = new AbortController();
    const { signal } = controller;
    const ensured = images.ensureImage({ ...ensure, pullPolicy: 'Always' }, { signal });
    await pulling.promise;
    const told = new Promise((resolve) => images.on('pullFailed', resolve));
    controller.abort();
    await expect(ensured).rejects.toMatchObject({ name: 'AbortError' });
    expect(await told).toMatchObject({ answered: false });
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
  });

  it.each([
    ['a getter', Object.defineProperty({}, 'message', { get: () => expect.fail('read') })],
    ['a proxy', new Proxy({}, { get: () => expect.fail('read') })],
  ])('may be told by an error that cannot be read, for %s', async (_, error) => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    runtime.onPull = () => Promise.reject(error);
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    await until(async () => (await intentsOf(pullManager)).length === 0);
  });

  it.each([
    ['is quiet', undefined],
    ['throws', () => expect.fail('logger')],
    ['rejects', () => Promise.reject(new Error('logger'))],
  ])('is settled when the store works again, with a logger that %s', async (_, log) => {
    const logger = log && { debug: log, info: log, warn: log, error: log };
    bench = await openBench(logger === undefined ? {} : { logger });
    const { runtime, images, pullManager } = bench;
    const settled = settledPulls();
    const recordImagePullFailed = pullManager.recordImagePullFailed.bind(pullManager);
    let tries = 0;
    pullManager.recordImagePullFailed = () => {
      tries++;
      return Promise.reject(Object.assign(new Error('full'), { code: 'ENOSPC' }));
    };
    runtime.onPull = () => Promise.reject(lost());
    await expect(images.ensureImage(ensure)).rejects.toThrow();
    await until(() => tries > 1);
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    pullManager.recordImagePullFailed = recordImagePullFailed;
    await until(() => settled.length > 0);
    expect(await intentsOf(pullManager)).toEqual([]);
  });
});

describe('intents that an earlier run left', () => {
  async function leftOver(...images: readonly string[]): Promise<ScriptedRuntime> {
    const runtime = new ScriptedRuntime();
    const pullManager = await PullManager.open({ store: { kind: 'memory' }, workerCount: 0 });
    for (const image of images) await pullManager.recordPullIntent(image);
    // As after a restart: the intents are there, and no pull is counted.
    bench = {
      runtime,
      pullManager,
      images: new ImageManager({ pullManager, runtime, unansweredGraceMs: 50 }),
      async [Symbol.asyncDispose]() {
        await this.images.close();
        await pullManager.close();
      },
    };
    return runtime;
  }

  it('become records without proof where the runtime has the image under any spelling', async () => {
    const runtime = await leftOver('busybox', PRIVATE);
    runtime.have('busybox:latest', 'sha256:busybox');
    const settled = settledPulls();
    await until(() => settled.length === 2);
    expect(settled.map(({ image, became }) => `${image} ${became}`).sort()).toEqual([
      'busybox present',
      `${PRIVATE} absent`,
    ]);
    expect(await bench.pullManager.mustAttemptImagePull('busybox', 'sha256:busybox')).toBe(true);
  });

  it('stay where the pull manager counts a pull as under way', async () => {
    // Its first user has begun a pull by itself, without this image manager.
    await leftOver(PRIVATE);
    const settled = settledPulls();
    await until(() => settled.length > 0);
    // The count of that pull is untouched, so its own end removes the intent.
    expect(await intentsOf(bench.pullManager)).toEqual([PRIVATE]);
    await bench.pullManager.recordImagePullFailed(PRIVATE);
    expect(await intentsOf(bench.pullManager)).toEqual([]);
  });

  /** A store with the intent of a pull that was under way when its agent was killed. */
  async function restarted(graceMs: number): Promise<Bench> {
    const path = await mkdtemp(join(tmpdir(), 'pullwarden-unanswered-'));
    const store = { kind: 'journal', path } as const;
    const before = await PullManager.open({ store, workerCount: 0 });
    await before.recordPullIntent(PRIVATE);
    await before.close();
    const opened = await openBench({ unansweredGraceMs: graceMs }, { store });
    return {
      ...opened,
      async [Symbol.asyncDispose]() {
        await opened[Symbol.asyncDispose]();
        await rm(path, { recursive: true });
      },
    };
  }

  it('go after a restart of the store, where the image is absent', async () => {
    bench = await restarted(50);
    expect(await intentsOf(bench.pullManager)).toEqual([PRIVATE]);
    await until(async () => (await intentsOf(bench.pullManager)).length === 0);
  });

  it('are not removed by pulls of the image that fail meanwhile', async () => {
    bench = await restarted(60_000);
    const { runtime, images, pullManager } = bench;
    // The first begins before the intents are known, the second after.
    for (const podUid of ['1', '2']) {
      const denied = images.ensureImage({ ...ensure, podUid, credentials: [secretOf('c')] });
      await expect(denied).rejects.toMatchObject({ code: 'ErrImagePull' });
      expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    }
    // Then what the killed agent had asked for arrives.
    runtime.have(PRIVATE, PRIVATE_ID);
    expect(await isOpenToAll()).toBe(false);
    runtime.onStatus = () => Promise.reject(lost());
    await images.close();
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
  });

  describe('let nobody in', () => {
    const DIGEST = `registry.example.com/team-a/app@sha256:${'d'.repeat(64)}`;
    const byDigest = { ...ensure, image: DIGEST, pullPolicy: 'Never', credentials: [] } as const;
    const refused = { code: 'ErrImageNeverPull' };

    /** A second image manager on a store whose intents `list` lists; the image is there already. */
    async function second(
      list: (honest: PullManager['listImagePullIntents']) => PullManager['listImagePullIntents'],
    ): Promise<ImageManager> {
      bench = await restarted(60_000);
      const { runtime, images, pullManager } = bench;
      await images.close();
      runtime.onStatus = async () => ({
        id: PRIVATE_ID,
        repoTags: [PRIVATE],
        repoDigests: [DIGEST],
      });
      const honest = pullManager.listImagePullIntents.bind(pullManager);
      pullManager.listImagePullIntents = list(honest);
      return new ImageManager({ pullManager, runtime, unansweredGraceMs: 60_000 });
    }

    it('under another name before they are known', async () => {
      const known = gate();
      await using images = await second((honest) => () => known.promise.then(honest));
      const ensured = images.ensureImage(byDigest);
      const checked = [
        images.check({ image: DIGEST }),
        images.check({ image: DIGEST, imageRef: PRIVATE_ID }),
      ];
      const isRefused = expect(ensured).rejects.toMatchObject(refused);
      known.open();
      await isRefused;
      for (const answer of checked) {
        expect(await answer).toMatchObject({ mustPull: true, reason: 'mustAuthenticate' });
      }
    });

    it('under another name where they cannot be taken over, and keep no other image from use', async () => {
      await using images = await second((honest) => honest);
      const { runtime, pullManager } = bench;
      pullManager.recordPullIntent = () => Promise.reject(new Error('disk full'));
      await expect(images.ensureImage(byDigest)).rejects.toMatchObject(refused);
      runtime.onStatus = undefined;
      runtime.have(PUBLIC, PUBLIC_ID);
      expect(await images.ensureImage({ ...byDigest, image: PUBLIC })).toMatchObject({
        imageRef: PUBLIC_ID,
      });
    });

    it('under another name where they cannot be known, but who has shown a proof', async () => {
      await using images = await second(() => () => Promise.reject(new Error('disk gone')));
      const { pullManager } = bench;
      await expect(images.ensureImage(byDigest)).rejects.toMatchObject(refused);
      const pulling = { ...byDigest, pullPolicy: 'IfNotPresent' } as const;
      await expect(images.ensureImage(pulling)).rejects.toMatchObject({
        code: 'ErrImagePullIntent',
      });
      for (const imageRef of [undefined, PRIVATE_ID]) {
        const question = imageRef === undefined ? {} : { imageRef };
        expect(await images.check({ image: DIGEST, ...question })).toMatchObject({
          imageRef: PRIVATE_ID,
          mustPull: true,
          reason: 'error',
        });
      }
      await pullManager.recordImagePulled(DIGEST, PRIVATE_ID, { nodePodsAccessible: true });
      expect(await images.ensureImage(byDigest)).toMatchObject({ pulled: false });
    });
  });

  it('let no pull begin before they are known', async () => {
    bench = await restarted(60_000);
    const { runtime, images, pullManager } = bench;
    const list = pullManager.listImagePullIntents.bind(pullManager);
    pullManager.listImagePullIntents = () => Promise.reject(new Error('disk gone'));
    await using second = new ImageManager({ pullManager, runtime });
    await expect(second.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePullIntent' });
    expect(runtime.pulls).toEqual([]);
    pullManager.listImagePullIntents = list;
    expect((await second.ensureImage(ensure)).pulled).toBe(true);
    runtime.onStatus = () => Promise.reject(lost());
    await images.close();
  });
});

describe('an image that is visible before its pull is recorded', () => {
  const DIGEST = `registry.example.com/team-a/app@sha256:${'d'.repeat(64)}`;
  const byDigest = { ...ensure, image: DIGEST, pullPolicy: 'Never', credentials: [] } as const;

  /** The image, as a runtime shows it under its tag and its digest. */
  function show(): void {
    bench.runtime.onStatus = async () => ({
      id: PRIVATE_ID,
      repoTags: [PRIVATE],
      repoDigests: [DIGEST],
    });
  }

  it('is not preloaded under another name while the pull goes on', async () => {
    bench = await openBench();
    const { runtime, images } = bench;
    const answer = gate<string>();
    runtime.onPull = () => answer.promise;
    const ensured = images.ensureImage(ensure);
    await until(() => runtime.pulls.length > 0);
    show();
    const refused = { code: 'ErrImageNeverPull' };
    await expect(images.ensureImage(byDigest)).rejects.toMatchObject(refused);
    const mustPull = { imageRef: PRIVATE_ID, mustPull: true, reason: 'mustAuthenticate' };
    expect(await images.check({ image: DIGEST })).toMatchObject(mustPull);
    expect(await images.check({ image: DIGEST, imageRef: PRIVATE_ID })).toMatchObject(mustPull);
    answer.open(PRIVATE_ID);
    await ensured;
    await expect(images.ensureImage(byDigest)).rejects.toMatchObject(refused);
    const proven = { ...byDigest, credentials: [secretOf('a')] };
    expect(await images.ensureImage(proven)).toMatchObject({ pulled: false });
  });

  it('is not preloaded under another name while the pull is unanswered', async () => {
    bench = await openBench({ unansweredGraceMs: 60_000 });
    const { runtime, images } = bench;
    runtime.onPull = () => Promise.reject(lost());
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    show();
    await expect(images.ensureImage(byDigest)).rejects.toMatchObject({ code: 'ErrImageNeverPull' });
  });

  it('is not preloaded under another name where it may not be recorded', async () => {
    bench = await openBench();
    const { images } = bench;
    bench.pullManager.recordImagePulled = () =>
      Promise.reject(Object.assign(new Error('died'), { code: 'ERR_PULLMANAGER_WORKER_LOST' }));
    await images.ensureImage(ensure);
    show();
    await expect(images.ensureImage(byDigest)).rejects.toMatchObject({ code: 'ErrImageNeverPull' });
  });

  it('is used by who has shown a proof, also while it is pulled under another name', async () => {
    bench = await openBench();
    const { runtime, images } = bench;
    await images.ensureImage(ensure);
    const answer = gate<string>();
    runtime.onPull = () => answer.promise;
    const image = 'registry.example.com/team-b/copy:1';
    const copied = images.ensureImage({ ...ensure, image, podUid: 'b' });
    await until(() => runtime.pulls.length > 1);
    runtime.onStatus = async () => ({
      id: PRIVATE_ID,
      repoTags: [PRIVATE, image],
      repoDigests: [DIGEST],
    });
    expect(await images.ensureImage({ ...ensure, pullPolicy: 'Never' })).toMatchObject({
      imageRef: PRIVATE_ID,
    });
    answer.open(PRIVATE_ID);
    await copied;
    // When no pull is open any more, a preloaded image is everybody's again.
    runtime.onStatus = async () => ({ id: 'sha256:x', repoTags: [image], repoDigests: [] });
    expect(await images.ensureImage({ ...byDigest, image })).toMatchObject({ pulled: false });
  });
});

describe('an outcome that cannot be recorded', () => {
  /** Makes writes of that name fail until the result is called. */
  function failing(write: 'recordImagePulled' | 'recordImagePullFailed', code: string): () => void {
    const { pullManager } = bench;
    const works = pullManager[write].bind(pullManager);
    pullManager[write] = () => Promise.reject(Object.assign(new Error('no'), { code }));
    return () => {
      pullManager[write] = works as never;
    };
  }

  it('is recorded with its proof when the store works again', async () => {
    bench = await openBench();
    const { images, pullManager } = bench;
    const work = failing('recordImagePulled', 'ENOSPC');
    await images.ensureImage(ensure);
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
    work();
    await until(async () => (await intentsOf(pullManager)).length === 0);
    expect(await images.ensureImage({ ...ensure, pullPolicy: 'Never' })).toMatchObject({
      pulled: false,
    });
    expect(await isOpenToAll()).toBe(false);
  });

  it('is recorded as a failure when the store works again', async () => {
    bench = await openBench();
    const { images, pullManager } = bench;
    const work = failing('recordImagePullFailed', 'ENOSPC');
    const denied = { ...ensure, credentials: [secretOf('c')] };
    await expect(images.ensureImage(denied)).rejects.toMatchObject({ code: 'ErrImagePull' });
    work();
    await until(async () => (await intentsOf(pullManager)).length === 0);
  });

  it('is not recorded again where it may have been', async () => {
    bench = await openBench();
    const { images, pullManager } = bench;
    const work = failing('recordImagePulled', 'ERR_PULLMANAGER_WORKER_LOST');
    await images.ensureImage(ensure);
    work();
    let outcomes = 0;
    pullManager.on('outcome', () => outcomes++);
    await images.close();
    expect(outcomes).toBe(0);
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
  });
});

describe('close', () => {
  it('waits for a store that never answers no longer than it must', async () => {
    bench = await openBench();
    const { images, pullManager } = bench;
    const recording = gate();
    pullManager.recordImagePulled = () => {
      recording.open();
      return new Promise(() => {});
    };
    const ensured = images.ensureImage(ensure);
    ensured.catch(() => {});
    await recording.promise;
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout'] });
    try {
      const closed = images.close();
      await vi.advanceTimersByTimeAsync(10_000);
      await closed;
    } finally {
      vi.useRealTimers();
    }
    await expect(ensured).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
  });

  it('takes no short absence for the end of a pull that was left unanswered', async () => {
    bench = await openBench({ unansweredGraceMs: 60_000 });
    const { runtime, images, pullManager } = bench;
    runtime.onPull = () => Promise.reject(lost());
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({ code: 'ErrImagePull' });
    await until(() => runtime.calls.includes(`status ${PRIVATE}`));
    await images.close();
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
  });

  it('rejects what is under way, and ends each pull that is known to have given nothing', async () => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    const pulling = gate();
    runtime.onPull = (_, __, signal) =>
      new Promise((_resolve, reject) => {
        pulling.open();
        signal!.addEventListener('abort', () => reject(signal!.reason));
      });
    const ensured = images.ensureImage(ensure);
    ensured.catch(() => {});
    await pulling.promise;
    await images.close();
    await images.close();
    await expect(ensured).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
    await expect(images.ensureImage(ensure)).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_CLOSED',
    });
    await expect(images.collect()).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
    expect(await intentsOf(pullManager)).toEqual([]);
  });

  it('leaves the intent of a pull of which nobody knows what became, and hangs on nothing', async () => {
    bench = await openBench();
    const { runtime, images, pullManager } = bench;
    runtime.onPull = () => new Promise(() => {});
    const ensured = images.ensureImage(ensure);
    ensured.catch(() => {});
    await until(() => runtime.pulls.length > 0);
    runtime.onStatus = () => new Promise(() => {});
    await images.close();
    await expect(ensured).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_CLOSED' });
    expect(await intentsOf(pullManager)).toEqual([PRIVATE]);
  });
});
