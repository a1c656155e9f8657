/** Pulls whose answer is lost, at the real containerd: it dies, or the way to it does. */
import { afterEach, beforeEach, expect, it } from 'vitest';
import type { ImageManagerEvents } from '../../src/events/messages.ts';
import { Agent, passwordOf, secretOf } from './agent.ts';
import { describeEachRuntime } from './kit/describe-real.ts';
import { buildImage } from './kit/image-builder.ts';

const GRACE_MS = 200;

describeEachRuntime('a pull whose answer is lost', (components) => {
  let agent: Agent;
  let settled: ImageManagerEvents['unansweredPullSettled'][];
  let stories = 0;
  let name: string;
  let id: string;

  beforeEach(async () => {
    const repository = `lost-${++stories}/app`;
    const image = buildImage({ content: repository });
    name = await components.registry.push(image, repository, 'v1');
    id = image.id;
    components.tokenServer.setUser('alice', {
      password: passwordOf('alice'),
      repositories: [repository],
    });
    // Through the front, so that answers can be lost.
    const socket = components.runtimeFront.socket;
    agent = await Agent.open(socket, {}, { unansweredGraceMs: GRACE_MS });
    settled = [];
    agent.images.on('unansweredPullSettled', (message) => settled.push(message));
  });
  afterEach(async () => {
    components.runtimeFront.cut();
    await components.containerd.start();
    await agent[Symbol.asyncDispose]();
  });

  async function until(isSo: () => boolean | Promise<boolean>): Promise<void> {
    while (!(await isSo())) await new Promise((resolve) => setTimeout(resolve, 5));
  }

  const isVisible = async (): Promise<boolean> =>
    (await components.containerd.cri.imageStatus(name)) !== undefined;

  /** Begins a pull and loses what the runtime says of it; resolves when the image is visible. */
  async function pullWithoutAnswer(): Promise<{ readonly outcome: Promise<string> }> {
    const held = components.registry.hold(() => true);
    const outcome = agent.outcome(name, 'IfNotPresent', [secretOf('alice')]);
    await held.arrived;
    components.runtimeFront.holdAnswers();
    held.release();
    await until(isVisible);
    return { outcome };
  }

  it('lets nobody in without a proof, though the image is there, when the runtime was killed', async () => {
    const { outcome } = await pullWithoutAnswer();
    await components.containerd.kill();
    components.runtimeFront.cut();
    expect(await outcome).toBe('ErrImagePull');
    expect(await agent.intents()).toEqual([name]);
    await components.containerd.start();
    expect(await isVisible()).toBe(true);
    while (settled.length === 0) {
      expect(await agent.outcome(name, 'Never', [secretOf('mallory')])).toMatch(
        /ErrImageNeverPull|ErrImageInspect/,
      );
    }
    expect(settled).toMatchObject([{ image: name, became: 'present' }]);
    expect(await agent.intents()).toEqual([]);
    expect(await agent.outcome(name, 'Never', [secretOf('mallory')])).toBe('ErrImageNeverPull');
    // Who has rights needs one registry check.
    expect(await agent.outcome(name, 'IfNotPresent', [secretOf('alice')])).toBe('pulled');
    expect(await agent.outcome(name, 'Never', [secretOf('alice')])).toBe('used');
  });

  it('lets nobody in when only the connection was lost', async () => {
    const { outcome } = await pullWithoutAnswer();
    components.runtimeFront.cut();
    expect(await outcome).toBe('ErrImagePull');
    expect(await agent.outcome(name, 'Never', [secretOf('mallory')])).toBe('ErrImageNeverPull');
    await until(() => settled.length > 0);
    expect(settled).toMatchObject([{ became: 'present' }]);
    expect(await agent.outcome(name, 'Never', [secretOf('mallory')])).toBe('ErrImageNeverPull');
  });

  it('ends when the runtime says that the image is absent, and only then', async () => {
    const held = components.registry.hold(() => true);
    const outcome = agent.outcome(name, 'IfNotPresent', [secretOf('alice')]);
    await held.arrived;
    await components.containerd.kill();
    held.release();
    expect(await outcome).toBe('ErrImagePull');
    // Much longer than the grace: a dead runtime's silence is no answer.
    await new Promise((resolve) => setTimeout(resolve, 3 * GRACE_MS));
    expect(await agent.intents()).toEqual([name]);
    await components.containerd.start();
    await until(() => settled.length > 0);
    expect(settled).toMatchObject([{ image: name, became: 'absent' }]);
    expect(await agent.intents()).toEqual([]);
  });

  it('is taken over by the next agent, when the first one was gone too', async () => {
    const store = {
      kind: 'journal',
      path: components.directoryOf(`lost-store-${stories}`),
    } as const;
    const socket = components.runtimeFront.socket;
    const first = await Agent.open(socket, { store }, { unansweredGraceMs: 60_000 });
    const held = components.registry.hold(() => true);
    const outcome = first.outcome(name, 'IfNotPresent', [secretOf('alice')]);
    await held.arrived;
    components.runtimeFront.holdAnswers();
    held.release();
    await until(isVisible);
    await first[Symbol.asyncDispose]();
    await outcome;
    components.runtimeFront.cut();
    await using next = await Agent.open(socket, { store }, { unansweredGraceMs: GRACE_MS });
    expect(await next.outcome(name, 'Never', [secretOf('mallory')])).toBe('ErrImageNeverPull');
    await until(async () => (await next.intents()).length === 0);
    expect(await next.outcome(name, 'Never', [secretOf('mallory')])).toBe('ErrImageNeverPull');
    expect(await next.outcome(name, 'IfNotPresent', [secretOf('alice')])).toBe('pulled');
    expect(id).toMatch(/^sha256:/);
  });
});
