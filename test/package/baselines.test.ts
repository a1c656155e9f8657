import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { JsonFileStore, JsonFilesPullManager } from '../../bench/baselines/json-files.ts';
import { PlainPullManager } from '../../bench/baselines/plain-pull-manager.ts';
import { closedLoop, latencyOf, median } from '../../bench/support/closed-loop.ts';
import { Workload } from '../../bench/support/workload.ts';

const IMAGE = 'registry.example.com/team/app:v1';
const KEY = 'registry.example.com/team/app';
const REF = 'sha256:1';
const SECRET = { uid: 'u1', namespace: 'team', name: 'pull', credentialHash: 'h1' };
const ACCOUNT = { uid: 'a1', namespace: 'team', name: 'builder' };
const LOADED = new Date('2026-01-01T00:00:00Z');

let directory: string;
let store: JsonFileStore;
let manager: PlainPullManager;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'pullwarden-baseline-'));
  store = new JsonFileStore(directory, false);
  manager = new PlainPullManager(store, () => LOADED);
});

afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true });
});

function recorded(): void {
  manager.recordPullIntent(IMAGE);
  manager.recordImagePulled(IMAGE, REF, { kubernetesSecrets: [SECRET] });
}

describe('the baseline of JSON files', () => {
  it('takes an image that it never heard of for preloaded', () => {
    expect(manager.mustAttemptImagePull(IMAGE, REF)).toBe(false);
  });

  it('demands a pull while only the intent is there, also after a restart', () => {
    manager.recordPullIntent(IMAGE);
    expect(manager.mustAttemptImagePull(IMAGE, REF)).toBe(true);
    expect(new PlainPullManager(store).mustAttemptImagePull(IMAGE, REF)).toBe(true);
  });

  it('keeps the intent until the last of several pulls has ended', () => {
    manager.recordPullIntent(IMAGE);
    manager.recordPullIntent(IMAGE);
    manager.recordImagePullFailed(IMAGE);
    expect(store.intentExists(IMAGE)).toBe(true);
    manager.recordImagePullFailed(IMAGE);
    expect(store.intentExists(IMAGE)).toBe(false);
  });

  it.each([
    { name: 'the same secret', pod: { secrets: [SECRET] }, mustPull: false },
    { name: 'no credentials', pod: {}, mustPull: true },
    {
      name: 'another secret with other content',
      pod: { secrets: [{ ...SECRET, uid: 'u2', credentialHash: 'h2' }] },
      mustPull: true,
    },
    {
      name: 'another secret with the same content',
      pod: { secrets: [{ ...SECRET, uid: 'u2' }] },
      mustPull: false,
    },
    {
      name: 'the same secret with other content',
      pod: { secrets: [{ ...SECRET, credentialHash: 'h2' }] },
      mustPull: false,
    },
    { name: 'a service account', pod: { serviceAccount: ACCOUNT }, mustPull: true },
  ])('answers $mustPull for $name', ({ pod, mustPull }) => {
    recorded();
    expect(manager.mustAttemptImagePull(IMAGE, REF, pod)).toBe(mustPull);
  });

  it('remembers a secret that was accepted for its content', () => {
    recorded();
    const other = { ...SECRET, uid: 'u0' };
    manager.mustAttemptImagePull(IMAGE, REF, { secrets: [other] });
    expect(store.readPulled(REF)?.credentialMapping[KEY]?.kubernetesSecrets).toEqual([
      other,
      SECRET,
    ]);
  });

  it('demands a pull for another name of the same content, and without an image reference', () => {
    recorded();
    const pod = { secrets: [SECRET] };
    expect(manager.mustAttemptImagePull('registry.example.com/other', REF, pod)).toBe(true);
    expect(manager.mustAttemptImagePull(IMAGE, '', pod)).toBe(true);
  });

  it('demands a pull when the record cannot be decoded', () => {
    recorded();
    const pulled = join(directory, 'pulled');
    for (const name of readdirSync(pulled)) writeFileSync(join(pulled, name), '{');
    expect(manager.mustAttemptImagePull(IMAGE, REF, { secrets: [SECRET] })).toBe(true);
  });

  it('lets everybody in once the image was pulled without credentials of a pod', () => {
    recorded();
    manager.recordImagePulled(IMAGE, REF, { nodePodsAccessible: true });
    expect(manager.mustAttemptImagePull(IMAGE, REF)).toBe(false);
  });

  it('prunes what is unknown and older than the cut-off', () => {
    recorded();
    expect(manager.pruneUnknownRecords([], LOADED)).toBe(0);
    expect(manager.pruneUnknownRecords([REF], new Date('2026-02-01'))).toBe(0);
    expect(manager.pruneUnknownRecords([], new Date('2026-02-01'))).toBe(1);
    expect(store.listPulled()).toEqual([]);
  });

  it("writes the reference's format", () => {
    recorded();
    const pulled = join(directory, 'pulled');
    const [file] = readdirSync(pulled);
    // SHA-256 of the text "sha256:1".
    expect(file).toMatch(/^sha256-[0-9a-f]{64}$/);
    expect(readFileSync(join(pulled, file!), 'utf8')).toBe(
      '{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",' +
        '"lastUpdatedTime":"2026-01-01T00:00:00Z","imageRef":"sha256:1","credentialMapping":' +
        `{"${KEY}":{"kubernetesSecrets":[{"uid":"u1","namespace":"team","name":"pull",` +
        '"credentialHash":"h1"}]}}}\n',
    );
  });
});

describe('the measuring loop', () => {
  it('runs every operation once, in as many loops as there are callers', async () => {
    const seen: number[] = [];
    let running = 0;
    let most = 0;
    const options = { callers: 4, operations: 100, warmup: 10, samples: 3 };
    const result = await closedLoop(options, async (index) => {
      seen.push(index);
      most = Math.max(most, ++running);
      await new Promise(setImmediate);
      running--;
    });
    expect(seen).toEqual(Array.from({ length: 310 }, (_, index) => index));
    expect(most).toBe(4);
    expect(result.operations).toBe(300);
    expect(result.operationsPerSecond).toBe(median(result.samples));
  });

  it('ends with the error of an operation that found a wrong answer', async () => {
    const wrong = closedLoop({ callers: 2, operations: 10 }, async (index) => {
      if (index === 7) throw new Error('wrong answer');
    });
    await expect(wrong).rejects.toThrow('wrong answer');
  });

  it('finds quantiles by nearest rank', () => {
    const values = Array.from({ length: 1000 }, (_, index) => 1000 - index);
    expect(latencyOf(values)).toEqual({ p50: 500, p99: 990, p999: 999, max: 1000 });
    expect(median([3, 1, 2])).toBe(2);
    expect(median([4, 1, 2, 3])).toBe(2.5);
  });

  it("knows a storm's answers, 90 % of them decisions", async () => {
    const workload = new Workload(50, 5);
    const subject = new JsonFilesPullManager(directory, false);
    await workload.load(subject, 1);
    let decisions = 0;
    for (let index = 0; index < 950; index++) {
      if (workload.step(index).kind === 'decide') decisions++;
      await workload.perform(subject, index);
    }
    expect(decisions).toBe(900);
    await subject.close();
  });
});
