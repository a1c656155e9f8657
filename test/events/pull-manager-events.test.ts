import { channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { afterEach, describe, expect, it } from 'vitest';
import { errorCode, PullManagerError } from '../../src/errors.ts';
import { EVENT_CHANNELS, PULL_MANAGER_EVENTS } from '../../src/events/channels.ts';
import type { DecisionMessage, PullManagerEvents } from '../../src/events/messages.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import { secret } from '../support/credentials.ts';
import { open, openEngine, optionsOf, shapeOf } from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';

const INLINE = shapeOf('memory', 0, 31);
const WORKERS = shapeOf('memory', 2, 31);
const A = secret('a');
const FUTURE = new Date(Date.now() + 1e9);

interface Heard {
  readonly event: string;
  readonly message: object;
}

/** All events of a manager, in order, without what differs from run to run. */
function listening(manager: PullManager): Heard[] {
  const heard: Heard[] = [];
  for (const event of PULL_MANAGER_EVENTS) {
    manager.on(event, ({ manager: source, ...message }) => {
      expect(source).toBe(manager);
      if ('durationMs' in message) expect(message.durationMs).toBeGreaterThanOrEqual(0);
      heard.push({ event, message: { ...message, durationMs: 0 } });
    });
  }
  return heard;
}

const subscriptions: (() => void)[] = [];

function onChannel<Name extends keyof PullManagerEvents>(
  event: Name,
  listener: (message: PullManagerEvents[Name]) => void,
): void {
  const hear = (message: unknown): void => listener(message as PullManagerEvents[Name]);
  subscribe(EVENT_CHANNELS[event], hear);
  subscriptions.push(() => unsubscribe(EVENT_CHANNELS[event], hear));
}

afterEach(() => {
  for (const end of subscriptions.splice(0)) end();
});

describe.each([INLINE, WORKERS])('events of a manager with $name', (shape) => {
  it('tell of a pull: intent, outcome, and the decisions on it', async () => {
    const manager = await openEngine(shape);
    const heard = listening(manager);
    await manager.recordPullIntent('app');
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] });
    await manager.decide('app', 'ref', async () => ({}));
    await manager.decide('app', '');
    await manager.recordPullIntent('other');
    await manager.recordImagePullFailed('other');
    const found = { mustPull: false, reason: 'credentialRecordFound' };
    const durationMs = 0;
    expect(heard).toMatchObject([
      { event: 'intent', message: { image: 'app', durationMs } },
      { event: 'outcome', message: { image: 'app', outcome: 'pulled', imageRef: 'ref' } },
      { event: 'decision', message: { image: 'app', imageRef: 'ref', decision: found } },
      { event: 'decision', message: { decision: { reason: 'mustAuthenticate' } } },
      { event: 'decision', message: { imageRef: '', decision: { mustPull: true } } },
      { event: 'intent', message: { image: 'other' } },
      { event: 'outcome', message: { image: 'other', outcome: 'failed' } },
    ]);
    expect(heard).toHaveLength(7);
    expect(heard[6]!.message).not.toHaveProperty('imageRef');
  });

  it('tell of each decision once, whichever method was asked', async () => {
    const manager = await openEngine(shape);
    const decisions: DecisionMessage[] = [];
    manager.on('decision', (message) => decisions.push(message));
    const asked = await manager.decide('app', 'ref');
    expect(manager.decideSync('app', 'ref')).toBe(asked);
    await manager.mustAttemptImagePull('app', 'ref');
    await manager.mustAttemptImagePull('app', 'ref', async () => ({}));
    await manager.decideBatch([
      { image: 'app', imageRef: 'ref' },
      { image: 'b', imageRef: 'unknown' },
    ]);
    expect(decisions.map(({ image }) => image)).toEqual(['app', 'app', 'app', 'app', 'app', 'b']);
    for (const { decision } of decisions) expect(decision).toBe(asked);
  });

  it('tell of a pull of withPull, and of its failure', async () => {
    const manager = await openEngine(shape);
    const heard = listening(manager);
    await manager.withPull('app', async () => ({ imageRef: 'ref', credentials: null }));
    const failure = new Error('refused');
    await expect(
      manager.withPull('other', async () => {
        throw failure;
      }),
    ).rejects.toBe(failure);
    expect(heard).toMatchObject([
      { event: 'intent', message: { image: 'app' } },
      { event: 'outcome', message: { image: 'app', outcome: 'pulled' } },
      { event: 'intent', message: { image: 'other' } },
      { event: 'outcome', message: { image: 'other', outcome: 'failed' } },
    ]);
  });

  it('tell of pruning, with its result', async () => {
    const manager = await openEngine(shape);
    await manager.recordImagePulled('a', 'ref-a', null);
    await manager.recordImagePulled('b', 'ref-b', null);
    const heard = listening(manager);
    await manager.pruneUnknownRecords(['ref-a', 'ref-c'], FUTURE);
    const result = { pruned: 1, kept: 1, errors: [] };
    expect(heard).toEqual([
      { event: 'prune', message: { listedCount: 2, until: FUTURE, result, durationMs: 0 } },
    ]);
  });

  it('carry no secret and no hash', async () => {
    const manager = await openEngine(shape);
    const messages: unknown[] = [];
    for (const event of PULL_MANAGER_EVENTS) manager.on(event, (message) => messages.push(message));
    await manager.recordPullIntent('app');
    await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
    await manager.decide('app', 'ref', { secrets: [A] });
    await manager.decide('app', 'ref', { secrets: [secret('b')] });
    await manager.decide('app', 'ref', async () => {
      throw new Error('look-up');
    });
    expect(messages).toHaveLength(5);
    expect(JSON.stringify(messages)).not.toMatch(/hash-|pull-a|uid-/);
  });
});

describe('events', () => {
  it('tell of writes that fail, with the error of the caller', async () => {
    const store = await FileStore.create();
    const manager = await open({ store: store.options, workerCount: 0 });
    const heard = listening(manager);
    store.set('commit', COMMAND.FAIL);
    const error = await manager.recordPullIntent('app').catch((failure: unknown) => failure);
    expect(error).toMatchObject({ code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' });
    await expect(manager.recordImagePulled('app', 'ref', null)).rejects.toThrow();
    expect(heard).toMatchObject([
      { event: 'intent', message: { image: 'app', error } },
      { event: 'outcome', message: { outcome: 'pulled', error: { code: errorCode(error) } } },
    ]);
    store.work();
  });

  it('do not tell of calls that are refused: those have begun nothing', async () => {
    const manager = await openEngine(INLINE);
    const heard = listening(manager);
    await expect(manager.recordPullIntent(7 as never)).rejects.toThrow(PullManagerError);
    await expect(manager.recordImagePulled('Bad Name', 'ref', null)).rejects.toThrow();
    await manager.close();
    await expect(manager.recordPullIntent('late')).rejects.toThrow(PullManagerError);
    expect(heard).toEqual([]);
  });

  it('tell of what was found at the opening, to listeners that were given then', async () => {
    const options = await optionsOf(shapeOf('journal', 0, 31));
    const first = await open(options);
    await first.recordPullIntent('app:1');
    await first.recordPullIntent('gone:1');
    await first.close();
    const found: unknown[] = [];
    const decided: unknown[] = [];
    const manager = await open({
      ...options,
      imageService: {
        listImages: async () => [{ id: 'ref', repoTags: ['app:1'], repoDigests: [] }],
      },
      listeners: {
        reconcile: ({ manager: source, ...rest }) => found.push(source, rest),
        decision: ({ decision }) => decided.push(decision.reason),
      },
    });
    const adopted = [{ image: 'app:1', imageRef: 'ref' }];
    const told = { foundCount: 2, adopted, failureCount: 0, durationMs: expect.any(Number) };
    expect(found).toEqual([manager, told]);
    await manager.decide('app:1', 'ref');
    expect(decided).toEqual(['mustAuthenticate']);
  });

  it('tell how many intents could not be reconciled', async () => {
    const options = await optionsOf(shapeOf('journal', 0, 31));
    const first = await open(options);
    await first.recordPullIntent('app:1');
    await first.close();
    const failures: number[] = [];
    onChannel('reconcile', ({ failureCount }) => failures.push(failureCount));
    await open({
      ...options,
      imageService: { listImages: () => Promise.reject(new Error('down')) },
    });
    expect(failures).toEqual([1]);
  });

  it('go to the listeners of their manager, and to the channel whichever it is', async () => {
    const [one, other] = [await openEngine(INLINE), await openEngine(INLINE)];
    const heardOfOne = listening(one);
    const onAll: object[] = [];
    onChannel('intent', ({ manager }) => onAll.push(manager));
    await other.recordPullIntent('b');
    await one.recordPullIntent('a');
    expect(heardOfOne.map(({ message }) => message)).toMatchObject([{ image: 'a' }]);
    expect(onAll).toEqual([other, one]);
  });

  it('are heard before the caller goes on', async () => {
    const manager = await openEngine(INLINE);
    const order: string[] = [];
    manager.on('intent', () => order.push('listener'));
    await manager.recordPullIntent('app');
    order.push('caller');
    expect(order).toEqual(['listener', 'caller']);
  });

  it('end with the subscription, which may be ended twice and from within', async () => {
    const manager = await openEngine(INLINE);
    const heard: string[] = [];
    const endOnce = manager.on('decision', () => {
      heard.push('once');
      endOnce();
      endOnce();
    });
    const end = manager.on('decision', () => heard.push('each'));
    await manager.decide('app', 'ref');
    await manager.decide('app', 'ref');
    end();
    await manager.decide('app', 'ref');
    expect(heard).toEqual(['once', 'each', 'each']);
  });

  it('leave nothing behind on their channel when the last listener has gone', async () => {
    const [one, other] = [await openEngine(INLINE), await openEngine(INLINE)];
    const watched = (): boolean => channel(EVENT_CHANNELS.decision).hasSubscribers;
    expect(watched()).toBe(false);
    const end = one.on('decision', () => {});
    one.on('decision', () => {})();
    other.on('decision', () => {});
    end();
    expect(watched()).toBe(true);
    await other.close();
    expect(watched()).toBe(false);
  });

  it('keep what listeners throw, or reject with, away from the operation, and log it', async () => {
    const complaints: unknown[] = [];
    const logger = {
      debug() {},
      info() {},
      warn: (_: string, fields?: object) => complaints.push(fields),
      error() {},
    };
    const manager = await openEngine(INLINE, { logger });
    const heard: string[] = [];
    manager.on('decision', () => {
      throw new TypeError('hash-a');
    });
    manager.on('decision', () => Promise.reject(new RangeError('later')) as never);
    manager.on('decision', ({ image }) => heard.push(image));
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
    expect(heard).toEqual(['app']);
    await Promise.resolve();
    expect(complaints).toEqual([
      { event: 'decision', error: 'TypeError' },
      { event: 'decision', error: 'RangeError' },
    ]);
  });

  it('do not let a listener change what the caller is told', async () => {
    const manager = await openEngine(INLINE);
    manager.on('decision', ({ decision }) => {
      (decision as { mustPull: boolean }).mustPull = !decision.mustPull;
    });
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(false);
    expect(await manager.decide('app', 7 as never)).toMatchObject({
      mustPull: true,
      reason: 'error',
    });
  });

  it.each([
    { name: 'no event', call: ['decisions', () => {}], argument: 'event' },
    { name: 'a name of every object', call: ['toString', () => {}], argument: 'event' },
    { name: 'no name', call: [7, () => {}], argument: 'event' },
    { name: 'no listener', call: ['decision', undefined], argument: 'listener' },
  ])('refuse $name', async ({ call, argument }) => {
    const manager = await openEngine(INLINE);
    const on = (): unknown => manager.on(...(call as Parameters<PullManager['on']>));
    expect(on).toThrow(PullManagerError);
    expect(on).toThrow(expect.objectContaining({ argument }));
  });

  it.each([
    { name: 'no object', listeners: 7, argument: 'listeners' },
    { name: 'null', listeners: null, argument: 'listeners' },
    { name: 'an unknown event', listeners: { decisions() {} }, argument: 'listeners."decisions"' },
    { name: 'no function', listeners: { decision: 'x' }, argument: 'listeners.decision' },
  ])('refuse $name as listeners of a manager to be opened', async ({ listeners, argument }) => {
    await expect(openEngine(INLINE, { listeners: listeners as never })).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
      argument,
    });
  });
});
