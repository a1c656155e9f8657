import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { readFile, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import type { ImagePullManager } from '../../../src/image-pull-manager.ts';
import { PullManager } from '../../../src/pull-manager.ts';
import { readTrace } from '../../../src/trace/read-trace.ts';
import { type RecordTraceOptions, recordTrace } from '../../../src/trace/record-trace.ts';
import { newDirectory, play } from './kit.ts';

const APP = 'registry.example.com/team-a/app:1';
const REF = `sha256:${'a'.repeat(64)}`;
const HASH = 'c'.repeat(64);
const SECRET = { uid: 'uid-of-a', namespace: 'team-a', name: 'login', credentialHash: HASH };
const OTHER = { ...SECRET, uid: 'uid-of-b', namespace: 'team-b' };

async function open(): Promise<PullManager> {
  const manager = await PullManager.open({ store: { kind: 'memory' }, workerCount: 0 });
  onTestFinished(() => manager.close());
  return manager;
}

async function record<M extends ImagePullManager>(
  manager: M,
  options: Partial<RecordTraceOptions> = {},
) {
  const path = join(await newDirectory(), 'trace.jsonl');
  return { path, ...(await recordOf(manager, { path, ...options })) };
}

async function recordOf<M extends ImagePullManager>(manager: M, options: RecordTraceOptions) {
  const recording = await recordTrace(manager, options);
  onTestFinished(() => recording.close());
  return { recording, recorded: recording.manager };
}

async function pull(manager: PullManager): Promise<void> {
  await manager.withPull(APP, async () => ({
    imageRef: REF,
    credentials: { kubernetesSecrets: [SECRET] },
  }));
}

describe('a recording', () => {
  it('has every operation, and answers as the manager does', async () => {
    const manager = await open();
    const { path, recording, recorded } = await record(manager);
    await pull(recorded);
    expect(await recorded.mustAttemptImagePull(APP, REF, { secrets: [SECRET] })).toBe(false);
    expect(await recorded.mustAttemptImagePull(APP, REF, () => ({ secrets: [OTHER] }))).toBe(false);
    expect(recorded.decideSync(APP, REF, {})).toMatchObject({ reason: 'mustAuthenticate' });
    const batch = [
      { image: APP, imageRef: REF, credentials: async () => ({ serviceAccount: OTHER }) },
      { image: APP, imageRef: '' },
    ];
    const decisions = await recorded.decideBatch(batch);
    expect(decisions.map(({ mustPull }) => mustPull)).toEqual([true, true]);
    await expect(
      recorded.withPull(APP, () => Promise.reject(new Error('refused'))),
    ).rejects.toThrow('refused');
    const refs = new Set([REF]).values();
    expect(await recorded.pruneUnknownRecords(refs, new Date())).toMatchObject({ kept: 1 });
    await recorded.recordPullIntent(APP);
    await recorded.recordImagePulled(APP, REF, null);
    expect((await recorded.listImagePulledRecords()).records).toHaveLength(1);
    await recording.close();
    const { operations, credentials, isWhole, dropped } = await readTrace(path);
    expect(operations.map(({ op }) => op)).toEqual([
      'intent',
      'pulled',
      'decide',
      'decide',
      'decide',
      'decideBatch',
      'intent',
      'failed',
      'prune',
      'intent',
      'pulled',
    ]);
    expect(operations.slice(2, 6)).toMatchObject([
      { image: APP, imageRef: REF, credentials: 1 },
      { credentials: 2 },
      { image: APP, imageRef: REF },
      { requests: [{ imageRef: REF, credentials: 3 }, { imageRef: '' }] },
    ]);
    expect(operations[4]).not.toHaveProperty('credentials');
    expect(credentials.slice(1)).toMatchObject([
      { secrets: [{ uid: 'u1', namespace: 'ns1', name: 'n1', credentialHash: 'h1' }] },
      { secrets: [{ uid: 'u2', namespace: 'ns2', name: 'n1', credentialHash: 'h1' }] },
      { serviceAccounts: [{ uid: 'u2', namespace: 'ns2', name: 'n1' }] },
    ]);
    expect({ isWhole, dropped }).toEqual({ isWhole: true, dropped: 0 });
    expect(recording.counts).toEqual({ operations: 11, dropped: 0 });
    const { state } = await play(path);
    expect(state.counts).toMatchObject({ wrongDecisions: 0, wrongRecords: 0, errors: 0 });
  });

  it('has neither hashes nor names in it, and only its owner may read it', async () => {
    const manager = await open();
    const { path, recording, recorded } = await record(manager, { images: 'pseudonyms' });
    await pull(recorded);
    await recorded.decide(APP, REF, { secrets: [OTHER], serviceAccount: OTHER });
    await recording.close();
    const text = await readFile(path, 'utf8');
    for (const secret of [HASH, 'uid-of', 'team-', 'login', 'registry.example', REF]) {
      expect(text).not.toContain(secret);
    }
    expect(text).toContain('"image":"trace.example/image-1:t1","imageRef":"ref-1"');
    expect((await stat(path)).mode & 0o777).toBe(0o600);
  });

  it('keeps names where that is wanted, and hashes never', async () => {
    const manager = await open();
    const { path, recording, recorded } = await record(manager, { names: 'kept' });
    await pull(recorded);
    await recording.close();
    const text = await readFile(path, 'utf8');
    expect(text).toContain('"uid":"uid-of-a","namespace":"team-a","name":"login"');
    expect(text).not.toContain(HASH);
  });

  it('begins with what the store holds', async () => {
    const manager = await open();
    await pull(manager);
    await manager.recordPullIntent('left-over:1');
    const { path, recording, recorded } = await record(manager);
    expect(await recorded.mustAttemptImagePull(APP, REF, { secrets: [SECRET] })).toBe(false);
    await recording.close();
    const { state } = await readTrace(path);
    expect(state).toEqual([
      { op: 'record', imageRef: REF, name: 'registry.example.com/team-a/app', credentials: 1 },
      { op: 'leftOver', image: 'left-over:1' },
    ]);
    const played = await play(path);
    expect(played.left).toBe(0);
    expect(played.state.counts).toMatchObject({ wrongDecisions: 0, wrongRecords: 0, exact: 1 });
  });

  it('begins also with what nobody has proven access to', async () => {
    const manager = await open();
    await manager.recordPullIntent(APP);
    await manager.recordImagePulled(APP, REF, null);
    const { path, recording, recorded } = await record(manager);
    expect(await recorded.mustAttemptImagePull(APP, REF)).toBe(true);
    await recording.close();
    const { state } = await readTrace(path);
    expect(state).toMatchObject([{ op: 'record', imageRef: REF, credentials: null }]);
    const played = await play(path);
    expect(played.left).toBe(0);
    expect(played.state.counts).toMatchObject({ wrongDecisions: 0, wrongRecords: 0, exact: 1 });
  });

  it('does not fail a pull that answers at once, and has one that throws at once', async () => {
    const manager = await open();
    const { path, recording, recorded } = await record(manager);
    const atOnce = (): never => ({ imageRef: REF, credentials: null }) as never;
    expect(await recorded.withPull(APP, atOnce)).toMatchObject({ imageRef: REF });
    expect((await manager.listImagePulledRecords()).records).toHaveLength(1);
    const throwing = (): never => {
      throw new Error('refused');
    };
    await expect(recorded.withPull(APP, throwing)).rejects.toThrow('refused');
    await recording.close();
    const { operations } = await readTrace(path);
    expect(operations.map(({ op }) => op)).toEqual(['intent', 'pulled', 'intent', 'failed']);
  });

  it('passes on what the manager refuses', async () => {
    const manager = await open();
    const { recorded } = await record(manager);
    const unknown = (value: unknown): never => value as never;
    await expect(recorded.recordPullIntent(unknown(7))).rejects.toThrow('image');
    await expect(recorded.pruneUnknownRecords(unknown('x'), new Date())).rejects.toThrow();
    await expect(recorded.pruneUnknownRecords([], unknown(undefined))).rejects.toThrow('until');
    await expect(recorded.withPull(APP, unknown(undefined))).rejects.toThrow('pull must be');
    await expect(recorded.withPull(APP, async () => unknown(undefined))).rejects.toThrow();
    const failing = (): never => {
      throw new Error('no secrets today');
    };
    await recorded.recordPullIntent(APP);
    await recorded.recordImagePulled(APP, REF, { kubernetesSecrets: [SECRET] });
    await expect(recorded.mustAttemptImagePull(APP, REF, failing)).rejects.toThrow('no secrets');
    const answers = await recorded.decideBatch(unknown([undefined]));
    expect(answers[0]).toMatchObject({ mustPull: true, reason: 'error' });
  });

  it('refuses a file that is there, and options that are none', async () => {
    const manager = await open();
    const directory = await newDirectory();
    const path = join(directory, 'trace.jsonl');
    await writeFile(path, 'mine');
    await expect(recordTrace(manager, { path })).rejects.toThrow('cannot be made: EEXIST');
    expect(await readFile(path, 'utf8')).toBe('mine');
    const nowhere = join(directory, 'no', 'where');
    await expect(recordTrace(manager, { path: nowhere })).rejects.toThrow('ENOENT');
    const names = 'hidden' as 'kept';
    await expect(recordTrace(manager, { path: 'x', names })).rejects.toThrow('options.names');
    await expect(recordTrace(manager, { path: 'x', bytesMax: 0 })).rejects.toThrow('bytesMax');
  });
});

/** A file system of 64 kB; undefined where this process may not make one. */
function smallFileSystem(): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'pullwarden-small-'));
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', path], { stdio: 'ignore' });
    return path;
  } catch {
    rmSync(path, { recursive: true });
    return undefined;
  }
}

describe('a recording that cannot go on', () => {
  const disk = smallFileSystem();
  afterAll(() => {
    if (disk === undefined) return;
    execFileSync('umount', [disk]);
    rmSync(disk, { recursive: true });
  });

  const logger = () => {
    const warnings: string[] = [];
    const silent = (): void => {};
    const warn = (message: string): void => void warnings.push(message);
    return { warnings, debug: silent, info: silent, error: silent, warn };
  };

  async function askOften(manager: ImagePullManager, times: number): Promise<void> {
    for (let i = 0; i < times; i++) {
      expect(await manager.mustAttemptImagePull(`app-${i}:1`, REF)).toBe(false);
      // Lets the file be written.
      if (i % 500 === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  it('ends at its size, says so, and disturbs nobody', async () => {
    const manager = await open();
    const log = logger();
    const { path, recording, recorded } = await record(manager, { bytesMax: 150_000, logger: log });
    await askOften(recorded, 5_000);
    await recording.close();
    expect(log.warnings).toEqual([
      'the recording of a trace has ended: its file has its 150000 bytes',
    ]);
    expect((await stat(path)).size).toBeLessThanOrEqual(150_000);
    const { operations, isWhole } = await readTrace(path);
    expect(operations.length).toBeGreaterThan(0);
    expect(isWhole).toBe(false);
    expect(recording.counts.dropped).toBeGreaterThan(0);
  });

  it.skipIf(disk === undefined)('ends where the disk is full, and disturbs nobody', async () => {
    const manager = await open();
    const log = logger();
    const path = join(disk!, 'trace.jsonl');
    const { recording, recorded } = await recordOf(manager, { path, logger: log });
    await askOften(recorded, 5_000);
    await recording.close();
    expect(log.warnings).toEqual([
      'the recording of a trace has ended: its file cannot be written: ENOSPC',
    ]);
    const { operations } = await readTrace(path);
    expect(operations.length).toBeGreaterThan(0);
  });

  it('drops what comes faster than it can be written, and counts it', async () => {
    const manager = await open();
    const { path, recording, recorded } = await record(manager);
    // No turn of the event loop: nothing is written meanwhile.
    const image = 'a'.repeat(100_000);
    const asked = Array.from({ length: 200 }, () => recorded.decide(image, REF));
    await Promise.all(asked);
    await vi.waitUntil(async () => (await stat(path)).size > 8_000_000, 10_000);
    await recorded.decide(image, REF);
    await recording.close();
    const { operations, dropped, isWhole } = await readTrace(path);
    expect(dropped).toBeGreaterThan(0);
    expect(operations.length + dropped).toBe(asked.length + 1);
    expect(isWhole).toBe(true);
    expect(recording.counts).toEqual({ operations: operations.length, dropped });
  });
});
