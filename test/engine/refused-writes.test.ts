/** Writes that a store can never take, beside others in one batch. */
import { mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { recordFileName } from '../../src/accessors/kubelet/record-format.ts';
import { errorCode } from '../../src/errors.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';

const IMAGE = 'registry.example.com/x:1';
const OTHERS = Array.from({ length: 5 }, (_, i) => `registry.example.com/other-${i}:1`);
const UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';

let dir: string;

beforeEach(() => {
  dir = mkdtempSync(join(tmpdir(), 'pullwarden-refused-'));
});

afterEach(() => {
  rmSync(dir, { recursive: true, force: true });
});

describe.each([0, 1])('in an engine with %i workers', (workerCount) => {
  it('fail alone: an intent whose place is taken by a directory', async () => {
    mkdirSync(join(dir, 'pulling', recordFileName(IMAGE)), { recursive: true, mode: 0o700 });
    await using manager = await PullManager.open({ store: { kind: 'kubelet', dir }, workerCount });
    const outcomes = await Promise.allSettled(
      [IMAGE, ...OTHERS].map((image) => manager.recordPullIntent(image)),
    );
    const codes = outcomes.map((one) => (one.status === 'rejected' ? errorCode(one.reason) : 'ok'));
    expect(codes).toEqual([UNAVAILABLE, ...OTHERS.map(() => 'ok')]);
    const { records } = await manager.listImagePullIntents();
    expect(records.map(({ image }) => image).sort()).toEqual(OTHERS);
  });

  it('fail alone: a record whose place is taken, the end of its pull included', async () => {
    mkdirSync(join(dir, 'pulled', recordFileName('ref')), { recursive: true, mode: 0o700 });
    await using manager = await PullManager.open({ store: { kind: 'kubelet', dir }, workerCount });
    await manager.recordPullIntent(IMAGE);
    await manager.recordPullIntent(OTHERS[0]!);
    const credentials = { kubernetesSecrets: [secret('a')] };
    const [refused, other] = await Promise.allSettled([
      manager.recordImagePulled(IMAGE, 'ref', credentials),
      manager.recordImagePulled(OTHERS[0]!, 'other', credentials),
    ]);
    expect(refused).toMatchObject({ status: 'rejected', reason: { code: UNAVAILABLE } });
    expect(other.status).toBe('fulfilled');
    // Its intent stays, and protects the image.
    const { records } = await manager.listImagePullIntents();
    expect(records).toEqual([{ image: IMAGE }]);
    expect(await manager.mustAttemptImagePull(IMAGE, 'ref', { secrets: [secret('a')] })).toBe(true);
  });
});
