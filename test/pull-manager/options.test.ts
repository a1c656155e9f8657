import { getEventListeners } from 'node:events';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { describe, expect, it } from 'vitest';
import { errorCode } from '../../src/errors.ts';
import type { PullManagerOptions } from '../../src/options.ts';
import { resolveOptions } from '../../src/options.ts';
import { PullManager } from '../../src/pull-manager.ts';
import { eventually, open, settles, temporaryDirectory } from '../support/engines.ts';
import { COMMAND, FileStore } from '../support/file-store.ts';

const MEMORY = { kind: 'memory' } as const;

interface Refused {
  readonly name: string;
  readonly options: Record<string, unknown>;
  readonly argument: string;
  readonly code?: string;
}

function wrong(option: string, ...values: unknown[]): Refused[] {
  return values.map((value) => ({
    name: `${option}: ${inspect(value)}`,
    options: { [option]: value },
    argument: option,
  }));
}

const REFUSED: readonly Refused[] = [
  ...wrong('workerCount', -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, '2', null, {}, 2n),
  ...wrong('stripeCount', Number.NaN, '31', null, {}, 31n),
  ...wrong('maxPending', 0, -1, 1.5, Number.NaN, Number.POSITIVE_INFINITY, 2 ** 40, '5', null),
  ...wrong('whenFull', 'fail', true, 1, null, ''),
  ...wrong('reverifyAfter', 0, -1, Number.NEGATIVE_INFINITY, Number.NaN, '1h', null),
  ...wrong('compatibility', 'v1.32', '1.35', 'V1.35', 35, null, ''),
  ...wrong('rotatedSecrets', 'never', true, null, ''),
  ...wrong('signal', {}, 'now', null),
  ...wrong('imageService', {}, null, () => [], { listImages: 5 }),
  ...wrong('policy', 'NeverVerify', 5, null),
  { name: 'a policy without kind', options: { policy: {} }, argument: 'policy.kind' },
  {
    name: 'a kind from a prototype',
    options: { policy: JSON.parse('{"__proto__": {"kind": "NeverVerify"}}') },
    argument: 'policy.kind',
  },
  {
    name: 'an unknown policy',
    options: { policy: { kind: 'neverVerify' } },
    argument: 'policy.kind',
    code: 'POLICY_UNKNOWN',
  },
  {
    name: 'an enforcer that is no function',
    options: { policy: { requireCredentialVerificationForImage: true } },
    argument: 'policy.requireCredentialVerificationForImage',
  },
  {
    name: 'an allow list that is missing',
    options: { policy: { kind: 'NeverVerifyAllowlistedImages' } },
    argument: 'policy.allowlist',
  },
  {
    name: 'a number on an allow list',
    options: { policy: { kind: 'NeverVerifyAllowlistedImages', allowlist: ['a.io/b', 5] } },
    argument: 'policy.allowlist[1]',
  },
  { name: 'no logger', options: { logger: {} }, argument: 'logger.debug' },
  {
    name: 'a logger that lacks a level',
    options: { logger: { debug() {}, info() {}, warn() {} } },
    argument: 'logger.error',
  },
  ...wrong('store', 'memory', [], 5, null),
  { name: 'a store without kind', options: { store: {} }, argument: 'store.kind' },
  { name: 'an unknown store', options: { store: { kind: 'disk' } }, argument: 'store.kind' },
  {
    name: 'a journal without path',
    options: { store: { kind: 'journal' } },
    argument: 'store.path',
  },
  {
    name: 'a journal with an empty path',
    options: { store: { kind: 'journal', path: '' } },
    argument: 'store.path',
  },
  {
    name: 'a journal with NUL in its path',
    options: { store: { kind: 'journal', path: 'a\0b' } },
    argument: 'store.path',
  },
  {
    name: 'a misspelt option, which would leave a default in force',
    options: { Policy: { kind: 'AlwaysVerify' } },
    argument: 'options."Policy"',
  },
  {
    name: 'an unknown durability',
    options: { store: { kind: 'journal', path: 'unused', durability: 'never' } },
    argument: 'store.durability',
  },
  {
    name: 'a module that is a number',
    options: { store: { module: 5 } },
    argument: 'store.module',
  },
  {
    name: 'a module and a kind',
    options: { store: { module: 'x', kind: 'memory' } },
    argument: 'store',
  },
  {
    name: 'options of a module that cannot travel',
    options: { store: { module: './x.mjs', options: { call: () => 1 } } },
    argument: 'store.options',
  },
];

const PATTERNS = [
  '',
  ' registry.io/app',
  'registry.io/app\u00a0',
  '*',
  '/*',
  'registry.io/app*',
  'registry.io/*/app',
  'registry.io/**',
  'registry.io/app:v1',
  'registry.io/',
  'ubuntu',
  'docker.io/ubuntu',
];

describe('opening', () => {
  it.each(REFUSED)('refuses $name', async ({ options, argument, code = 'INVALID_ARGUMENT' }) => {
    const given = { store: MEMORY, workerCount: 0, ...options } as PullManagerOptions;
    const opening = PullManager.open(given);
    await expect(opening).rejects.toMatchObject({
      code: `ERR_PULLMANAGER_${code}`,
      argument,
    });
    await expect(opening).rejects.toThrow(argument === 'policy.kind' ? /policy/ : argument);
  });

  it.each(PATTERNS)('refuses the pattern "%s" and names it', async (pattern) => {
    const allowlist = ['registry.io/good', pattern];
    const opening = PullManager.open({
      store: MEMORY,
      policy: { kind: 'NeverVerifyAllowlistedImages', allowlist },
    });
    await expect(opening).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_ALLOWLIST_PATTERN_INVALID',
      pattern,
    });
  });

  it.each([
    { name: 'null', options: null },
    { name: 'a text', options: 'memory' },
    { name: 'a number', options: 5 },
  ])('refuses $name as options', async ({ options }) => {
    const opening = PullManager.open(options as never);
    await expect(opening).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' });
  });

  it('makes no store of its own where the given one is refused', async () => {
    const before = existsSync('pullwarden-data');
    await PullManager.open({ store: null as never }).catch(() => {});
    await PullManager.open({ workerCount: -1 }).catch(() => {});
    expect(existsSync('pullwarden-data')).toBe(before);
  });

  it.each([
    { asked: -5, got: 1 },
    { asked: 0, got: 1 },
    { asked: 1, got: 1 },
    { asked: 30.9, got: 30 },
    { asked: 31, got: 31 },
    { asked: 32, got: 31 },
    { asked: 1e9, got: 31 },
    { asked: Number.POSITIVE_INFINITY, got: 31 },
    { asked: Number.NEGATIVE_INFINITY, got: 1 },
  ])('gives $got stripes where $asked are asked for', async ({ asked, got }) => {
    const manager = await open({ store: MEMORY, workerCount: 0, stripeCount: asked });
    expect(manager.stats().stripeCount).toBe(got);
    await manager.recordPullIntent('app');
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
  });

  it('starts no more workers than there are stripes', async () => {
    const manager = await open({ store: MEMORY, workerCount: 1000, stripeCount: 2 });
    expect(manager.stats().workerCount).toBe(2);
    await manager.recordPullIntent('app');
    expect(await manager.mustAttemptImagePull('app', 'ref')).toBe(true);
  });

  it('ignores what JSON has put into the prototype', async () => {
    const given = JSON.parse(
      '{"store":{"kind":"memory"},"workerCount":0,"__proto__":{"stripeCount":"x"}}',
    );
    const manager = await open(given as PullManagerOptions);
    expect(manager.stats().stripeCount).toBe(31);
  });

  it('takes undefined for "not given"', () => {
    const names = [
      'policy',
      'imageService',
      'stripeCount',
      'workerCount',
      'compatibility',
      'rotatedSecrets',
      'reverifyAfter',
      'logger',
      'signal',
      'maxPending',
      'whenFull',
    ];
    const given = Object.fromEntries(names.map((name) => [name, undefined]));
    const { logger: _a, policy: _b, ...resolved } = resolveOptions({ store: MEMORY, ...given });
    const { logger: _c, policy: _d, ...plain } = resolveOptions({ store: MEMORY });
    expect(resolved).toEqual(plain);
    expect(resolved.policyData).toEqual({ kind: 'NeverVerifyPreloadedImages' });
  });

  it.each([
    { name: 'before', abort: (aborter: AbortController) => aborter.abort(new Error('stop')) },
    {
      name: 'while it opens',
      abort: (aborter: AbortController) => queueMicrotask(() => aborter.abort(new Error('stop'))),
    },
  ])('ends where it is aborted $name, and leaves the store free', async ({ abort }) => {
    for (const workerCount of [0, 1]) {
      const path = await temporaryDirectory();
      const aborter = new AbortController();
      const store = { kind: 'journal', path } as const;
      abort(aborter);
      const opening = PullManager.open({ store, workerCount, signal: aborter.signal });
      const rejected = expect(opening).rejects.toMatchObject({
        name: 'AbortError',
        code: 'ERR_PULLMANAGER_ABORTED',
        cause: new Error('stop'),
      });
      await settles('an aborted opening', rejected);
      const manager = await open({ store, workerCount });
      await manager.recordPullIntent('app');
      await manager.close();
    }
  });

  it.each([
    { workerCount: 0, operation: 'open' },
    { workerCount: 2, operation: 'open' },
    { workerCount: 0, operation: 'list' },
    { workerCount: 1, operation: 'commit' },
  ] as const)(
    'ends where it is aborted while a module never answers $operation, with $workerCount workers',
    async ({ workerCount, operation }) => {
      const store = await FileStore.create();
      const first = await open({ store: store.options, workerCount });
      await first.recordPullIntent('app');
      await first.close();
      store.set(operation, COMMAND.HOLD);
      const { commitCount, openCount } = store;
      const aborter = new AbortController();
      const opening = PullManager.open({
        store: store.options,
        workerCount,
        // So that there is something to commit.
        imageService: {
          listImages: async () => [{ id: 'id', repoTags: ['app'], repoDigests: [] }],
        },
        signal: aborter.signal,
      });
      const rejected = expect(opening).rejects.toMatchObject({
        code: 'ERR_PULLMANAGER_ABORTED',
        cause: new Error('stop'),
      });
      await eventually('the module is asked', () =>
        operation === 'commit' ? store.commitCount > commitCount : store.openCount > openCount,
      );
      aborter.abort(new Error('stop'));
      await settles('an aborted opening', rejected, 40_000);
      store.work();
    },
  );

  it('closes where its signal is aborted later', async () => {
    const aborter = new AbortController();
    const manager = await open({ store: MEMORY, workerCount: 0, signal: aborter.signal });
    await manager.recordPullIntent('app');
    aborter.abort();
    await settles('closing', manager.close());
    const late = manager.recordPullIntent('app').catch(errorCode);
    expect(await late).toBe('ERR_PULLMANAGER_CLOSED');
  });

  it('leaves no listener on its signal when it is closed or fails', async () => {
    const { signal } = new AbortController();
    for (let i = 0; i < 3; i++) {
      const manager = await open({ store: MEMORY, workerCount: 0, signal });
      await manager.close();
    }
    const module = '/nowhere/store.mjs';
    await PullManager.open({ store: { module }, workerCount: 0, signal }).catch(() => {});
    expect(getEventListeners(signal, 'abort')).toHaveLength(0);
  });

  it.each([0, 1])('refuses a path that is a file, with %d workers', async (workerCount) => {
    const directory = await temporaryDirectory();
    const path = join(directory, 'file');
    await writeFile(path, 'not a directory');
    const opening = PullManager.open({ store: { kind: 'journal', path }, workerCount });
    await expect(opening).rejects.toMatchObject({
      code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE',
      path,
    });
  });

  it.each([0, 1])('refuses a store that is open already, with %d workers', async (workerCount) => {
    const path = await temporaryDirectory();
    const store = { kind: 'journal', path } as const;
    const manager = await open({ store, workerCount });
    await manager.recordPullIntent('app');
    const second = PullManager.open({ store, workerCount });
    await expect(second).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_STORE_IN_USE', path });
    await manager.recordPullIntent('app');
    await manager.close();
    const third = await open({ store, workerCount });
    expect(third.stats().intents).toBe(1);
  });

  it.each([0, 1])('refuses a module that is not there, with %d workers', async (workerCount) => {
    const directory = await temporaryDirectory();
    const module = join(directory, 'none.mjs');
    const opening = PullManager.open({ store: { module }, workerCount });
    await expect(opening).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' });
    const broken = join(directory, 'broken.mjs');
    await writeFile(broken, 'export default () => ({ listImagePullIntents() {} });');
    const second = PullManager.open({ store: { module: broken }, workerCount });
    await expect(second).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' });
  });
});
