import { readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, it, vi } from 'vitest';
import { acquireDirectoryLock } from '../../src/accessors/directory-lock.ts';
import { codeOf } from '../conformance/accessor-suite.ts';
import { temporaryDirectory } from './open-store.ts';

const STORE_IN_USE = 'ERR_PULLMANAGER_STORE_IN_USE';

/** What happens elsewhere just before a file gets the name of a claim. */
const elsewhere = vi.hoisted(() => ({ act: async (): Promise<void> => {} }));

vi.mock('node:fs/promises', async (importOriginal) => {
  const original = await importOriginal<typeof import('node:fs/promises')>();
  const link = async (existing: string, name: string): Promise<void> => {
    if (name.endsWith('.next')) await elsewhere.act();
    await original.link(existing, name);
  };
  return { ...original, link };
});

let path: string;

beforeEach(async () => {
  path = await temporaryDirectory();
});

afterEach(async () => {
  elsewhere.act = async () => {};
  await rm(path, { recursive: true });
});

it.runIf(process.platform === 'linux')(
  'gives up a claim to an owner whom somebody else has succeeded meanwhile',
  async () => {
    const ownerPath = join(path, 'LOCK.json');
    const lock = await acquireDirectoryLock(path, { mechanism: 'file' });
    const living = await readFile(ownerPath, 'utf8');
    await lock.release();
    const dead = { ...JSON.parse(living), nonce: 'd'.repeat(32), startTime: 'long ago' };
    await writeFile(ownerPath, JSON.stringify(dead));
    let isSucceeded = false;
    elsewhere.act = async () => {
      if (isSucceeded) return;
      isSucceeded = true;
      await writeFile(ownerPath, living);
    };
    expect(await codeOf(() => acquireDirectoryLock(path, { mechanism: 'file' }))).toBe(
      STORE_IN_USE,
    );
    expect(isSucceeded).toBe(true);
    expect(await readFile(ownerPath, 'utf8')).toBe(living);
    expect(await readdir(path)).toEqual(['LOCK.json']);
  },
);
