import { describe, expect, it } from 'vitest';
import { resolveImageManagerOptions } from '../../src/image-manager/options.ts';
import type { PruneResult } from '../../src/image-pull-manager.ts';
import {
  type Bench,
  ensure,
  gate,
  openBench,
  PRIVATE,
  PRIVATE_ID,
  PUBLIC,
  PUBLIC_ID,
  until,
} from './kit.ts';

describe('collecting', () => {
  it('deletes the records of images that are gone, and no others', async () => {
    await using bench = await openBench();
    const { images, runtime, pullManager } = bench;
    await images.ensureImage(ensure);
    await images.ensureImage({ ...ensure, image: PUBLIC });
    await runtime.removeImage(PUBLIC);
    const result = await collected(images);
    expect(result).toMatchObject({ pruned: 1, kept: 1 });
    expect(await pullManager.getImagePulledRecord(PUBLIC_ID)).toBeUndefined();
    expect(await pullManager.getImagePulledRecord(PRIVATE_ID)).toBeDefined();
  });

  it('keeps what was pulled after the list was asked for', async () => {
    await using bench = await openBench();
    const { images, pullManager } = bench;
    const { collecting, answer } = await collectedLate(bench);
    await images.ensureImage(ensure);
    answer.open();
    expect(await collecting).toMatchObject({ pruned: 0, kept: 1 });
    expect(await pullManager.getImagePulledRecord(PRIVATE_ID)).toBeDefined();
  });

  it('keeps the old record of an image that was removed and pulled again meanwhile', async () => {
    await using bench = await openBench();
    const { images, runtime, pullManager } = bench;
    await images.ensureImage(ensure);
    await runtime.removeImage(PRIVATE);
    await nextMillisecond();
    const { collecting, answer } = await collectedLate(bench);
    // The same tenant with the same secret: the record stays as it was, with its old time.
    await images.ensureImage(ensure);
    answer.open();
    await collecting;
    expect(await pullManager.getImagePulledRecord(PRIVATE_ID)).toBeDefined();
    expect(await pullManager.mustAttemptImagePull(PRIVATE, PRIVATE_ID)).toBe(true);
  });

  it('records no pull while records are being deleted', async () => {
    await using bench = await openBench();
    const { images, runtime, pullManager } = bench;
    const order: string[] = [];
    const pruning = gate();
    const prune = pullManager.pruneUnknownRecords.bind(pullManager);
    pullManager.pruneUnknownRecords = async (refs, until_) => {
      order.push('prune');
      await pruning.promise;
      const result = await prune(refs, until_);
      order.push('pruned');
      return result;
    };
    pullManager.on('outcome', () => order.push('recorded'));
    const collecting = images.collect();
    await until(() => order.length > 0);
    const ensured = images.ensureImage(ensure);
    await until(() => runtime.pulls.length > 0);
    await new Promise((resolve) => setImmediate(resolve));
    pruning.open();
    await Promise.all([collecting, ensured]);
    expect(order).toEqual(['prune', 'pruned', 'recorded']);
  });

  it.each([
    ['a list that fails', () => Promise.reject(new Error('no runtime'))],
    ['no list', async () => 'none' as never],
    ['an image without an id', async () => [{ id: '', repoTags: [PRIVATE], repoDigests: [] }]],
    ['a list with a hole', async () => [null as never]],
  ])('deletes nothing after %s', async (_, onList) => {
    await using bench = await openBench();
    const { images, runtime, pullManager } = bench;
    await images.ensureImage(ensure);
    runtime.onList = onList;
    await expect(images.collect()).rejects.toThrow();
    expect(await pullManager.getImagePulledRecord(PRIVATE_ID)).toBeDefined();
  });

  it('can be aborted', async () => {
    await using bench = await openBench();
    bench.runtime.onList = () => new Promise(() => {});
    await expect(bench.images.collect({ signal: AbortSignal.timeout(1) })).rejects.toMatchObject({
      name: 'AbortError',
    });
  });

  it('can be aborted while records are being deleted', async () => {
    await using bench = await openBench();
    const { images, pullManager } = bench;
    const pruning = gate();
    const answer = gate<never>();
    pullManager.pruneUnknownRecords = () => {
      pruning.open();
      return answer.promise;
    };
    const controller = new AbortController();
    const aborted = images.collect({ signal: controller.signal });
    await pruning.promise;
    controller.abort();
    await expect(aborted).rejects.toMatchObject({ name: 'AbortError' });
    answer.fail(new Error('too late'));
  });

  it('is done unasked every so often, and goes on after a failure', async () => {
    await using bench = await openBench({ collectEveryMs: 1 });
    const { images, runtime, pullManager } = bench;
    runtime.onList = () => Promise.reject(new Error('no runtime'));
    await images.ensureImage(ensure);
    await until(() => runtime.calls.filter((call) => call === 'list').length > 1);
    await runtime.removeImage(PRIVATE);
    runtime.onList = undefined;
    await until(async () => (await pullManager.getImagePulledRecord(PRIVATE_ID)) === undefined);
  });
});

describe('metrics', () => {
  it('count requests by what was seen, and pulls by duration', async () => {
    await using bench = await openBench();
    const { images } = bench;
    await images.ensureImage(ensure);
    await images.ensureImage(ensure);
    await expect(images.ensureImage({ ...ensure, image: 'UPPER' })).rejects.toThrow();
    const text = await images.metrics();
    const name = 'kubelet_image_manager_ensure_image_requests_total';
    const policy = 'pull_policy="ifnotpresent"';
    for (const [present, required] of [
      ['false', 'true'],
      ['true', 'false'],
      ['unknown', 'unknown'],
    ]) {
      expect(text).toContain(
        `${name}{present_locally="${present}",${policy},pull_required="${required}"} 1\n`,
      );
    }
    expect(text).toContain(
      'kubelet_image_pull_duration_seconds_count{image_size_in_bytes="N/A"} 1',
    );
  });

  it('count a pull whose size cannot be read', async () => {
    await using bench = await openBench();
    const { images, runtime } = bench;
    Object.assign(runtime, { reportsSizes: true });
    const found = runtime.found.bind(runtime);
    runtime.onStatus = async (name) => {
      const status = found(name);
      return status && Object.defineProperty(status, 'sizeBytes', { get: () => expect.fail('no') });
    };
    await images.ensureImage({ image: PUBLIC, pullPolicy: 'Always', podUid: '1' });
    await until(async () => (await images.metrics()).includes('image_size_in_bytes="N/A"'));
  });

  it('tell the size of an image where the runtime does', async () => {
    await using bench = await openBench();
    const { runtime, images } = bench;
    Object.assign(runtime, { reportsSizes: true });
    runtime.onStatus = async (image) => {
      const found = runtime.found(image);
      return found === undefined ? undefined : { ...found, sizeBytes: 700 << 20 };
    };
    await images.ensureImage(ensure);
    await until(async () => (await images.metrics()).includes('"500MB-1GB"'));
  });
});

describe('options', () => {
  it.each([
    ['no options', undefined, 'options'],
    ['no pull manager', {}, 'options.pullManager'],
    [
      'half a pull manager',
      { pullManager: { recordPullIntent() {} } },
      'options.pullManager.recordImagePulled',
    ],
    ['a negative rate', { qps: -1 }, 'options.qps'],
    ['a rate that is no number', { qps: Number.NaN }, 'options.qps'],
    ['a burst of 0', { burst: 0 }, 'options.burst'],
    ['a delay that no timer has', { backOffMs: 2 ** 31 }, 'options.backOffMs'],
    ['a text for a flag', { serializePulls: 'yes' }, 'options.serializePulls'],
    ['half a logger', { logger: { debug() {} } }, 'logger.info'],
  ])('are refused: %s', async (_, given, argument) => {
    await using bench = await openBench();
    const complete = { pullManager: bench.pullManager, runtime: bench.runtime };
    const isWhole = given !== undefined && Object.keys(given).length > 0;
    const options = isWhole ? { ...complete, ...given } : given;
    expect(() => resolveImageManagerOptions(options as never)).toThrow(
      expect.objectContaining({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT', argument }),
    );
  });
});

async function nextMillisecond(): Promise<void> {
  const now = Date.now();
  await until(() => Date.now() > now);
}

/** A record of the same millisecond as the cut-off stays. */
async function collected(images: {
  collect(): Promise<{ pruned: number; kept: number }>;
}): Promise<{ pruned: number; kept: number }> {
  await nextMillisecond();
  return images.collect();
}

/** A collection whose list is asked for and not answered: it will be empty. */
async function collectedLate({ runtime, images }: Bench): Promise<{
  readonly collecting: Promise<PruneResult>;
  readonly answer: { open: () => void };
}> {
  const listing = gate();
  const answer = gate();
  runtime.onList = async () => {
    listing.open();
    await answer.promise;
    return [];
  };
  const collecting = images.collect();
  await listing.promise;
  return { collecting, answer };
}
