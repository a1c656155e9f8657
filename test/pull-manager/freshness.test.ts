import { setImmediate as turnOfEventLoop } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';
import { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { open, openEngine, SHAPES } from '../support/engines.ts';

const A = secret('a');
const B = secret('b');
const COUNTING_STORE = new URL('../fixtures/accessors/counting-store.mjs', import.meta.url);

describe.each(SHAPES)('after a change, an engine with $name', (shape) => {
  it('knows a record that it has decided on at once, without a trip', async () => {
    const manager = await openEngine(shape);
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [B] })).toBe(true);
    for (let round = 0; round < 3; round++) {
      const rotated = { ...B, credentialHash: `hash-${round}` };
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [rotated] });
      const before = manager.stats().decisionsRemote;
      expect(manager.decideSync('app', 'ref', { secrets: [rotated] })?.mustPull).toBe(false);
      expect(manager.decideSync('app', 'ref', { secrets: [secret('c')] })?.mustPull).toBe(true);
      expect(manager.stats().decisionsRemote).toBe(before);
    }
  });

  it('knows what a match has added, without a trip', async () => {
    const manager = await openEngine(shape);
    const copy = secret('copy', { credentialHash: A.credentialHash });
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [copy] })).toBe(false);
    const sameCoordinates = { ...copy, credentialHash: A.credentialHash };
    expect(manager.decideSync('app', 'ref', { secrets: [sameCoordinates] })?.mustPull).toBe(false);
  });
});

describe('callers who ask for the same at once', () => {
  it('share one trip, also where the question is under way already', async () => {
    const { reads } = await import(fileURLToPath(COUNTING_STORE));
    const manager = await open({ store: { module: COUNTING_STORE }, workerCount: 0 });
    // A second manager changes the record, so that the first one has to ask.
    const other = await PullManager.attach(manager.handle);
    await other.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    let openGate = (): void => {};
    reads.gate = new Promise<void>((resolve) => {
      openGate = resolve;
    });
    reads.count = 0;
    const pods = [{ secrets: [A] }, { secrets: [B] }];
    const ask = (i: number): Promise<boolean> =>
      manager.mustAttemptImagePull('app', 'ref', pods[i % 2]);
    const answers = [ask(0), ask(1)];
    while (reads.count === 0) await turnOfEventLoop();
    for (let i = 2; i < 100; i++) answers.push(ask(i));
    await turnOfEventLoop();
    openGate();
    expect(await Promise.all(answers)).toEqual(Array.from(answers, (_, i) => i % 2 === 1));
    expect(reads.count).toBe(1);
    await other.close();
  });
});
