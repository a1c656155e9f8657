import { afterEach, beforeAll, describe, expect, it } from 'vitest';
import { errorCode, type PullManagerError } from '../../src/errors.ts';
import type { PullManager } from '../../src/pull-manager.ts';
import type { PodCredentials } from '../../src/records/record.ts';
import { secret } from '../support/credentials.ts';
import {
  emptied,
  intentsOf,
  openEngine,
  openForAll,
  settles,
  shapeOf,
  WORKER_SHAPES,
} from '../support/engines.ts';

const A = secret('a');
const INVALID = 'ERR_PULLMANAGER_INVALID_ARGUMENT';
const LONGEST = 1 << 20;

/** Texts that must do as any other, as images and as image references. */
const TEXTS = [
  { name: 'empty', text: '' },
  { name: 'a space', text: ' ' },
  { name: 'NUL', text: '\0' },
  { name: 'NUL in between', text: 'a\0b' },
  { name: 'a new line', text: 'a\nb\r\n' },
  { name: '__proto__', text: '__proto__' },
  { name: 'constructor', text: 'constructor' },
  { name: 'hasOwnProperty', text: 'hasOwnProperty' },
  { name: 'an emoji', text: '😀' },
  { name: 'combining characters', text: 'e\u0301' },
  { name: 'right to left', text: '\u202eabc' },
  { name: 'of 10,000 characters', text: 'x'.repeat(10_000) },
  { name: 'of 10,000 emojis', text: '😀'.repeat(10_000) },
  { name: 'a path', text: '../../etc/passwd' },
  { name: 'as long as may be', text: 'y'.repeat(LONGEST) },
];

const NO_TEXTS = [
  { name: 'undefined', value: undefined },
  { name: 'null', value: null },
  { name: 'a number', value: 5 },
  { name: 'an object', value: { toString: () => 'app' } },
  { name: 'a list', value: ['app'] },
  { name: 'a String', value: new String('app') },
  { name: 'a symbol', value: Symbol('app') },
  { name: 'a text too long', value: 'x'.repeat(LONGEST + 1) },
];

/** Credentials that are refused, with the path that the error names. */
const NO_CREDENTIALS: { name: string; value: unknown; path: string }[] = [
  { name: 'undefined', value: undefined, path: 'credentials' },
  { name: 'a text', value: 'hash-a', path: 'credentials' },
  { name: 'a list', value: [A], path: 'credentials' },
  { name: 'a function', value: () => ({}), path: 'credentials' },
  { name: 'a Map', value: new Map(), path: 'credentials' },
  { name: 'an unknown field', value: { secrets: [A] }, path: 'credentials.secrets' },
  {
    name: '__proto__ as field',
    value: JSON.parse('{"__proto__": {"nodePodsAccessible": true}}'),
    path: 'credentials.__proto__',
  },
  {
    name: 'a text for a boolean',
    value: { nodePodsAccessible: 'true' },
    path: 'credentials.nodePodsAccessible',
  },
  {
    name: 'null for a boolean',
    value: { nodePodsAccessible: null },
    path: 'credentials.nodePodsAccessible',
  },
  {
    name: 'an object for a list',
    value: { kubernetesSecrets: { 0: A } },
    path: 'credentials.kubernetesSecrets',
  },
  {
    name: 'a hole in a list',
    value: { kubernetesSecrets: [A, ...new Array(1)] },
    path: 'credentials.kubernetesSecrets[1]',
  },
  {
    name: 'a text for a secret',
    value: { kubernetesSecrets: ['hash-a'] },
    path: 'credentials.kubernetesSecrets[0]',
  },
  ...(['uid', 'namespace', 'name', 'credentialHash'] as const).flatMap((field) => [
    {
      name: `a secret without ${field}`,
      value: { kubernetesSecrets: [A, { ...A, [field]: undefined }] },
      path: `credentials.kubernetesSecrets[1].${field}`,
    },
    {
      name: `a number for ${field}`,
      value: { kubernetesSecrets: [{ ...A, [field]: 5 }] },
      path: `credentials.kubernetesSecrets[0].${field}`,
    },
  ]),
  {
    name: 'a field too many in a secret',
    value: { kubernetesSecrets: [{ ...A, password: 'hash-a' }] },
    path: 'credentials.kubernetesSecrets[0].password',
  },
  {
    name: '__proto__ in a secret',
    value: {
      kubernetesSecrets: [
        JSON.parse('{"uid":"","namespace":"","name":"","credentialHash":"","__proto__":1}'),
      ],
    },
    path: 'credentials.kubernetesSecrets[0].__proto__',
  },
  {
    name: 'a hash in an account',
    value: { kubernetesServiceAccounts: [A] },
    path: 'credentials.kubernetesServiceAccounts[0].credentialHash',
  },
  {
    name: 'an account without uid',
    value: { kubernetesServiceAccounts: [{ namespace: '', name: '' }] },
    path: 'credentials.kubernetesServiceAccounts[0].uid',
  },
];

/** A text like it that is another one. */
function otherThan(text: string): string {
  return text.length < LONGEST ? `${text}x` : text.slice(1);
}

async function errorOf(call: () => Promise<unknown>): Promise<PullManagerError> {
  // A documented rejection, never a throw.
  const rejection = call().then(
    () => {
      throw new Error('was accepted');
    },
    (error: unknown) => error,
  );
  return (await settles('a call with bad input', rejection)) as PullManagerError;
}

describe.each([...WORKER_SHAPES, shapeOf('journal', 2, 31)])(
  'an engine with $name, given odd input,',
  (shape) => {
    let manager: PullManager;

    beforeAll(async () => {
      manager = await openForAll(shape);
      return () => manager.close();
    });

    afterEach(() => emptied(manager));

    it.each(TEXTS)('takes an image that is $name for what it is', async ({ text }) => {
      expect(await manager.mustAttemptImagePull(text, 'ref')).toBe(false);
      await manager.recordPullIntent(text);
      expect(await intentsOf(manager)).toEqual([text]);
      expect(await manager.mustAttemptImagePull(text, 'ref')).toBe(true);
      expect(await manager.mustAttemptImagePull(otherThan(text), 'ref')).toBe(false);
      await manager.recordImagePullFailed(text);
      expect(await intentsOf(manager)).toEqual([]);
      expect(await manager.mustAttemptImagePull(text, 'ref')).toBe(false);
    });

    it.each(TEXTS)('takes an image reference that is $name for what it is', async ({ text }) => {
      await manager.recordImagePulled('app', text, { kubernetesSecrets: [A] });
      const { records } = await manager.listImagePulledRecords();
      expect(records.map(({ imageRef }) => imageRef)).toEqual([text]);
      const answer = await manager.mustAttemptImagePull('app', text, { secrets: [A] });
      // Only the empty one means that there is no image.
      expect(answer).toBe(text === '');
      const pruned = await manager.pruneUnknownRecords([text], new Date(8.64e15));
      expect(pruned).toEqual({ pruned: 0, kept: 1, errors: [] });
      expect((await manager.getImagePulledRecord(text))?.imageRef).toBe(text);
      expect(await manager.getImagePulledRecord(otherThan(text))).toBeUndefined();
    });

    it.each(TEXTS)(
      'takes fields of credentials that are $name for what they are',
      async ({ text }) => {
        const odd = { uid: text, namespace: text, name: text, credentialHash: text };
        const { credentialHash: _, ...account } = odd;
        const given = { kubernetesSecrets: [odd], kubernetesServiceAccounts: [account] };
        await manager.recordImagePulled('app', 'ref', given);
        const record = await manager.getImagePulledRecord('ref');
        expect(Object.values(record!.credentialMapping)).toEqual([given]);
        expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [odd] })).toBe(false);
        const asked = manager.mustAttemptImagePull('app', 'ref', { serviceAccount: account });
        expect(await asked).toBe(false);
      },
    );

    it.each([
      { name: 'a high one', text: '\ud800', shown: '\ufffd' },
      { name: 'a low one', text: 'a\udc00b', shown: 'a\ufffdb' },
      { name: 'two the wrong way round', text: '\udc00\ud800', shown: '\ufffd\ufffd' },
    ])('takes lone surrogates for U+FFFD: $name', async ({ text, shown }) => {
      await manager.recordPullIntent(text);
      expect(await intentsOf(manager)).toEqual([shown]);
      for (const spelling of [text, shown]) {
        expect(await manager.mustAttemptImagePull(spelling, 'ref')).toBe(true);
      }
      await manager.recordPullIntent(shown);
      await manager.recordImagePullFailed(text);
      expect(await intentsOf(manager)).toEqual([shown]);
      await manager.recordImagePullFailed(shown);
      expect(await intentsOf(manager)).toEqual([]);
      expect(await manager.mustAttemptImagePull(text, 'ref')).toBe(false);
      await manager.recordImagePulled('app', text, { nodePodsAccessible: true });
      for (const spelling of [text, shown]) {
        expect((await manager.getImagePulledRecord(spelling))?.imageRef).toBe(shown);
        expect(await manager.mustAttemptImagePull('app', spelling)).toBe(false);
        expect(await manager.mustAttemptImagePull('other', spelling)).toBe(true);
      }
    });

    it.each(NO_TEXTS)('refuses $name as image and as reference', async ({ value }) => {
      const bad = value as string;
      for (const [call, argument] of [
        [() => manager.recordPullIntent(bad), 'image'],
        [() => manager.recordImagePullFailed(bad), 'image'],
        [() => manager.recordImagePulled(bad, 'ref', null), 'image'],
        [() => manager.recordImagePulled('app', bad, null), 'imageRef'],
        [() => manager.getImagePulledRecord(bad), 'imageRef'],
        [() => manager.withPull(bad, async () => ({ imageRef: '', credentials: null })), 'image'],
        [() => manager.pruneUnknownRecords(['ref', bad], new Date()), 'imageRefs'],
      ] as [() => Promise<unknown>, string][]) {
        const error = await errorOf(call);
        expect(error).toMatchObject({ code: INVALID, name: 'PullManagerError' });
        expect(error.argument).toMatch(new RegExp(`^${argument}(\\[1\\])?$`));
        expect(error.message.length).toBeLessThan(300);
      }
      for (const [image, imageRef, argument] of [
        [bad, 'ref', 'image'],
        ['app', bad, 'imageRef'],
      ] as const) {
        const sync = manager.decideSync(image, imageRef);
        const [batched] = await manager.decideBatch([{ image, imageRef }]);
        for (const decision of [sync, await manager.decide(image, imageRef), batched]) {
          expect(decision).toMatchObject({
            mustPull: true,
            reason: 'error',
            cause: { code: INVALID, argument },
          });
        }
        expect(await manager.mustAttemptImagePull(image, imageRef)).toBe(true);
      }
    });

    it.each(NO_CREDENTIALS)('refuses credentials: $name', async ({ value, path }) => {
      await manager.recordPullIntent('app');
      const error = await errorOf(() => manager.recordImagePulled('app', 'ref', value as never));
      expect(error).toMatchObject({ code: INVALID, argument: path });
      expect(error.message).not.toContain('hash-a');
      expect(await intentsOf(manager)).toEqual(['app']);
      expect(await manager.getImagePulledRecord('ref')).toBeUndefined();
    });

    it('lets nobody in by credentials that throw when they are read, and answers the others', async () => {
      const good = { secrets: [A] };
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      expect(await manager.mustAttemptImagePull('app', 'ref', good)).toBe(false);
      const bad: PodCredentials = {
        get secrets(): never {
          throw new Error('hash-a');
        },
      };
      const refused = { mustPull: true, reason: 'error' };
      expect(manager.decideSync('app', 'ref', bad)).toMatchObject(refused);
      expect(await manager.decide('app', 'ref', bad)).toMatchObject(refused);
      expect(await manager.mustAttemptImagePull('app', 'ref', bad)).toBe(true);
      const asked = { image: 'app', imageRef: 'ref' };
      const decisions = await manager.decideBatch([
        { ...asked, credentials: bad },
        { ...asked, credentials: good },
      ]);
      expect(decisions).toMatchObject([refused, { mustPull: false }]);
      expect(decisions[0]!.detail).not.toContain('hash-a');
    });

    it.each([
      { name: 'no list', refs: undefined },
      { name: 'null', refs: null },
      { name: 'a text', refs: 'sha256:1' },
      { name: 'an object', refs: { length: 1, 0: 'ref' } },
      { name: 'a list of lists', refs: [['ref']] },
      {
        name: 'an iterator that throws',
        refs: {
          *[Symbol.iterator](): Generator<string> {
            yield 'ref';
            throw new Error('no more');
          },
        },
      },
    ])('refuses to prune by $name, and keeps everything', async ({ name, refs }) => {
      await manager.recordImagePulled('app', 'ref', null);
      const error = await errorOf(() =>
        manager.pruneUnknownRecords(refs as never, new Date(8.64e15)),
      );
      if (name !== 'an iterator that throws') expect(errorCode(error)).toBe(INVALID);
      expect(await manager.getImagePulledRecord('ref')).toBeDefined();
    });

    it.each([
      { name: 'no time', until: undefined },
      { name: 'a number', until: Date.now() },
      { name: 'a text', until: '2026-01-01T00:00:00Z' },
      { name: 'an invalid time', until: new Date(Number.NaN) },
    ])('refuses to prune until $name, and keeps everything', async ({ until }) => {
      await manager.recordImagePulled('app', 'ref', null);
      const error = await errorOf(() => manager.pruneUnknownRecords([], until as never));
      expect(error).toMatchObject({ code: INVALID, argument: 'until' });
      expect(await manager.getImagePulledRecord('ref')).toBeDefined();
    });

    it.each([
      { name: 'no list', requests: undefined },
      { name: 'null', requests: null },
      { name: 'a text', requests: 'app' },
      { name: 'an object', requests: {} },
      { name: 'a list with null', requests: [{ image: 'app', imageRef: 'ref' }, null] },
      { name: 'a list with a hole', requests: new Array(1) },
      { name: 'a list with a text', requests: ['app'] },
    ])('refuses a batch that is $name, or answers an error', async ({ requests }) => {
      const outcome = await manager.decideBatch(requests as never).catch((error: unknown) => error);
      if (outcome instanceof Error) {
        expect(errorCode(outcome)).toBe(INVALID);
      } else {
        const last = (outcome as unknown[]).at(-1);
        expect(last).toMatchObject({ reason: 'error', cause: { code: INVALID } });
      }
    });

    it.each([{ options: null }, { options: 5 }, { options: { signal: 'now' } }])(
      'answers an error to a decision with $options as options',
      async ({ options }) => {
        const decision = await manager.decide('app', 'ref', {}, options as never);
        expect(decision).toMatchObject({ mustPull: true, reason: 'error' });
        expect(decision.cause?.code).toBe(INVALID);
      },
    );

    it('answers an error to credentials that are none, where they matter', async () => {
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      for (const credentials of [null, 5, 'x', [], { secrets: 5 }]) {
        const decision = await manager.decide('app', 'ref', credentials as never);
        expect(decision).toMatchObject({ mustPull: true, reason: 'error' });
        expect(decision.cause?.code).toBe(INVALID);
        expect(await manager.mustAttemptImagePull('app', 'ref', credentials as never)).toBe(true);
      }
    });

    it('ignores fields of the pod that it does not need', async () => {
      await manager.recordImagePulled('app', 'ref', { kubernetesSecrets: [A] });
      const pod = { secrets: [{ ...A, type: 'Opaque', __proto__: { x: 1 } }], podUid: 'x' };
      expect(await manager.mustAttemptImagePull('app', 'ref', pod)).toBe(false);
    });
  },
);

describe('large input', () => {
  const COUNT = 40;

  it.each([shapeOf('memory', 0, 31), shapeOf('journal', 2, 31)])(
    '10 MB of credentials go in and come back, in an engine with $name',
    async (shape) => {
      const manager = await openEngine(shape);
      const list = Array.from({ length: 100_000 }, (_, i) =>
        secret(String(i).padStart(6, '0'), { credentialHash: `${i}`.padStart(64, 'f') }),
      );
      await manager.recordPullIntent('app');
      // Others pass while the message is on its way.
      const big = manager.recordImagePulled('app', 'ref', { kubernetesSecrets: list });
      const small = Array.from({ length: 500 }, (_, i) =>
        manager.recordImagePulled(`app${i}`, `ref${i}`, { kubernetesSecrets: [A] }),
      );
      await Promise.all([big, ...small]);
      const record = await manager.getImagePulledRecord('ref');
      const [entry] = Object.values(record!.credentialMapping);
      expect(entry!.kubernetesSecrets!.length).toBe(list.length);
      expect(entry!.kubernetesSecrets).toEqual(list);
      for (let i = 0; i < 500; i++) {
        const other = await manager.getImagePulledRecord(`ref${i}`);
        const name = `docker.io/library/app${i}`;
        expect(other!.credentialMapping).toEqual({ [name]: { kubernetesSecrets: [A] } });
      }
      const last = { secrets: [list.at(-1)!] };
      expect(await manager.mustAttemptImagePull('app', 'ref', last)).toBe(false);
      expect(await manager.mustAttemptImagePull('app', 'ref', { secrets: [A] })).toBe(true);
      const { records } = await manager.listImagePulledRecords();
      expect(records).toHaveLength(501);
      expect(await intentsOf(manager)).toEqual([]);
    },
  );

  it.each([shapeOf('memory', 0, 31), shapeOf('memory', 2, 31)])(
    'long texts of all kinds mix, in an engine with $name',
    async (shape) => {
      const manager = await openEngine(shape);
      // More than a dictionary and a ring hold.
      const long = (i: number): string => `${i}-é`.padEnd(i % 3 === 0 ? LONGEST : 900_000, 'x');
      const uid = (i: number): string => `${i}-`.padEnd(i % 4 === 0 ? 300_000 : 10, 'ü');
      await Promise.all(
        Array.from({ length: COUNT }, async (_, i) => {
          await manager.recordImagePulled(`app${i}`, long(i), {
            kubernetesSecrets: [secret(`s${i}`, { uid: uid(i) })],
          });
          await manager.recordPullIntent(`intent${i}`);
        }),
      );
      expect(await intentsOf(manager)).toEqual(
        Array.from({ length: COUNT }, (_, i) => `intent${i}`).sort(),
      );
      const { records } = await manager.listImagePulledRecords();
      expect(records).toHaveLength(COUNT);
      for (let i = 0; i < COUNT; i++) {
        const record = await manager.getImagePulledRecord(long(i));
        const mapping = Object.entries(record!.credentialMapping);
        expect(mapping.map(([name]) => name)).toEqual([`docker.io/library/app${i}`]);
        expect(mapping[0]![1].kubernetesSecrets![0]!.uid === uid(i)).toBe(true);
      }
    },
  );
});
