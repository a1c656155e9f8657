/**
 * A commit that is rejected may be durable all the same, and may come to light when the store is opened
 * again. What is acknowledged after it must not rest on its not having happened.
 */
import fs from 'node:fs';
import { syncBuiltinESMExports } from 'node:module';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import type { StoreOptions } from '../../src/accessors/backend.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { temporaryDirectory } from '../accessors/open-store.ts';
import { secret } from '../support/credentials.ts';
import { intentsOf } from '../support/engines.ts';

const UNAVAILABLE = { code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' };
const A = { kubernetesSecrets: [secret('a')] };
const LATER = new Date(Date.now() + 3_600_000);

let store: StoreOptions;
let manager: PullManager;
let isLate = false;

beforeEach(async () => {
  store = { kind: 'journal', path: await temporaryDirectory() };
  manager = await PullManager.open({ store, workerCount: 0 });
  const { write } = fs;
  // Carried out, and failed all the same.
  const late = (...args: unknown[]): void => {
    const callback = args.pop() as (error: Error | null, count?: number) => void;
    const end = (error: Error | null, count?: number): void => {
      callback(isLate ? Object.assign(new Error('EIO'), { code: 'EIO' }) : error, count);
    };
    (write as (...all: unknown[]) => void)(...args, end);
  };
  vi.spyOn(fs, 'write').mockImplementation(late);
  syncBuiltinESMExports();
});

afterEach(async () => {
  await manager.close();
  vi.restoreAllMocks();
  syncBuiltinESMExports();
});

/** The call is rejected, and its effect is in the store for all that. */
async function comesLate(call: () => Promise<unknown>): Promise<void> {
  isLate = true;
  await expect(call()).rejects.toMatchObject(UNAVAILABLE);
  isLate = false;
}

async function reopen(): Promise<void> {
  await manager.close();
  manager = await PullManager.open({ store, workerCount: 0 });
}

it('shows what it has done when the store is opened again', async () => {
  await comesLate(() => manager.recordPullIntent('app'));
  expect(await intentsOf(manager)).toEqual([]);
  await reopen();
  expect(await intentsOf(manager)).toEqual(['app']);
});

it('takes back no intent that was acknowledged after it', async () => {
  await manager.recordPullIntent('app');
  await comesLate(() => manager.recordImagePullFailed('app'));
  await manager.recordPullIntent('app');
  await reopen();
  expect(await intentsOf(manager)).toEqual(['app']);
  expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
});

it('takes back no record that was acknowledged after it', async () => {
  await manager.recordImagePulled('app', 'ref', A);
  isLate = true;
  const { errors } = await manager.pruneUnknownRecords([], LATER);
  isLate = false;
  expect(errors).toHaveLength(1);
  await manager.recordImagePulled('app', 'ref', A);
  await reopen();
  const decision = await manager.decide('app', 'ref', { secrets: A.kubernetesSecrets });
  expect(decision).toMatchObject({ mustPull: false, reason: 'credentialRecordFound' });
});

it('brings back no intent whose pull was acknowledged to be over', async () => {
  await comesLate(() => manager.recordPullIntent('app'));
  await manager.recordImagePullFailed('app');
  await reopen();
  expect(await intentsOf(manager)).toEqual([]);
});
