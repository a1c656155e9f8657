import { pathToFileURL } from 'node:url';
import { describe, expect, it } from 'vitest';
import type { OwnedAccessor } from '../../src/accessors/accessor.ts';
import { openBackend } from '../../src/accessors/backend.ts';
import { resolveModuleUrl } from '../../src/accessors/module.ts';
import { openAccessor } from '../../src/accessors/open-accessor.ts';
import { errorCode } from '../../src/errors.ts';
import { PulledRecord } from '../../src/records/record.ts';
import {
  accessorSuite,
  codeOf,
  comparable,
  record,
  secrets,
} from '../conformance/accessor-suite.ts';
import { openStore, soleWorker } from './open-store.ts';

const RECORD_CORRUPT = 'ERR_PULLMANAGER_RECORD_CORRUPT';
const STORE_UNAVAILABLE = 'ERR_PULLMANAGER_STORE_UNAVAILABLE';
const CONTEXT = { workerCount: 1, stripeCount: 31, compatibility: 'v1.35' } as const;

const fixture = (name: string): URL => new URL(`../fixtures/accessors/${name}`, import.meta.url);
const USER = fixture('user-accessor.mjs');
const SCRIPTED = fixture('scripted-accessor.mjs');

let storeCount = 0;
/** Names a new store of the user's module. */
const newStore = (): string => `store-${storeCount++}`;

interface UserStore {
  intents: Set<string>;
  pulled: Map<string, Record<string, unknown>>;
  opened: unknown[];
}

/** What the user's module holds. */
async function inspect(name: string): Promise<UserStore> {
  const module: { inspect(store: string): UserStore } = await import(USER.href);
  return module.inspect(name);
}

for (const mode of ['synchronous', 'asynchronous']) {
  accessorSuite({
    name: `${mode} module`,
    open: () => openStore({ module: USER, options: { mode, store: newStore() } }),
    capabilities: { historyCount: 50 },
  });
}

function openScripted(options: Record<string, unknown>): Promise<OwnedAccessor> {
  return openAccessor({ kind: 'module', url: SCRIPTED.href, options }, soleWorker());
}

describe('module store', () => {
  it('tells the module which worker it serves, and needs the event loop', async () => {
    const store = newStore();
    const backend = await openBackend({ module: USER, options: { store } }, CONTEXT);
    expect(backend).toMatchObject({ kind: 'module', needsEventLoop: true });
    const context = soleWorker({ workerIndex: 2, workerCount: 4, mayBlock: false });
    const accessor = await openAccessor(backend.spec, context);
    expect((await inspect(store)).opened).toEqual([{ workerIndex: 2, workerCount: 4 }]);
    expect(accessor.listsOnlyOwnKeys).toBe(false);
    await accessor.commit([
      { op: 'writeIntent', image: 'a' },
      { op: 'writePulled', record: record('b') },
    ]);
    expect(await accessor.count()).toEqual({ intents: 1, records: 1 });
  });

  it('gives the module plain values that are its own', async () => {
    const store = newStore();
    const { accessor } = await openStore({ module: USER, options: { store } });
    const written = PulledRecord.from(record('ref', { name: secrets(1) }));
    const change = { imageName: 'name', credentials: secrets(1) };
    await accessor.commit([{ op: 'writePulled', record: written, change }]);
    const stored = (await inspect(store)).pulled.get('ref');
    expect(stored).not.toBeInstanceOf(PulledRecord);
    expect(Object.keys(stored ?? {}).sort()).toEqual([
      'credentialMapping',
      'imageRef',
      'lastUpdatedTime',
    ]);
    const mapping = stored?.credentialMapping as Record<string, { kubernetesSecrets: object[] }>;
    Object.assign(mapping.name!.kubernetesSecrets[0]!, { uid: 'forged' });
    expect(comparable(written)).toEqual(comparable(record('ref', { name: secrets(1) })));
  });

  it('hands out copies, whatever the module does with its own later', async () => {
    const store = newStore();
    const { accessor } = await openStore({ module: USER, options: { store } });
    await accessor.writeImagePulledRecord(record('ref', { name: secrets(1) }));
    const read = await accessor.getImagePulledRecord('ref');
    const stored = (await inspect(store)).pulled.get('ref');
    const mapping = stored?.credentialMapping as Record<string, { kubernetesSecrets: object[] }>;
    Object.assign(mapping.name!.kubernetesSecrets[0]!, { uid: 'forged' });
    expect(comparable(read)).toEqual(comparable(record('ref', { name: secrets(1) })));
  });

  it('brings credentials into normal form', async () => {
    const duplicate = { uid: 'u', namespace: 'n', name: 'b', credentialHash: 'old' };
    const answer = record('ref', {
      name: {
        nodePodsAccessible: false,
        kubernetesSecrets: [
          duplicate,
          { uid: 'u', namespace: 'n', name: 'a', credentialHash: 'h' },
          { ...duplicate, credentialHash: 'new' },
        ],
        kubernetesServiceAccounts: [],
      },
    });
    const accessor = await openScripted({ answers: { getImagePulledRecord: answer } });
    const found = await accessor.getImagePulledRecord('ref');
    expect(found?.credentialMapping).toEqual({
      name: {
        kubernetesSecrets: [
          { uid: 'u', namespace: 'n', name: 'a', credentialHash: 'h' },
          { uid: 'u', namespace: 'n', name: 'b', credentialHash: 'new' },
        ],
      },
    });
  });
});

describe('what a module answers for a record', () => {
  const time = new Date();
  const sound = { imageRef: 'ref', lastUpdatedTime: time, credentialMapping: {} };
  const withCredentials = (credentials: unknown): object => ({
    ...sound,
    credentialMapping: { name: credentials },
  });
  const cases: Record<string, unknown> = {
    null: null,
    text: 'ref',
    'an array': [],
    'no imageRef': { ...sound, imageRef: undefined },
    'another imageRef': { ...sound, imageRef: 'other' },
    'no time': { ...sound, lastUpdatedTime: undefined },
    'time as text': { ...sound, lastUpdatedTime: time.toISOString() },
    'an invalid time': { ...sound, lastUpdatedTime: new Date(Number.NaN) },
    'no mapping': { ...sound, credentialMapping: undefined },
    'mapping null': { ...sound, credentialMapping: null },
    'credentials null': withCredentials(null),
    'credentials text': withCredentials('all'),
    'a truthy nodePodsAccessible': withCredentials({ nodePodsAccessible: 'false' }),
    'an unknown field': withCredentials({ nodePodAccessible: true }),
    'secrets no array': withCredentials({ kubernetesSecrets: {} }),
    'a secret null': withCredentials({ kubernetesSecrets: [null] }),
    'a secret without hash': withCredentials({
      kubernetesSecrets: [{ uid: '', namespace: '', name: '' }],
    }),
    'an account without uid': withCredentials({
      kubernetesServiceAccounts: [{ namespace: '', name: '' }],
    }),
    'a proof time that is no number': withCredentials({
      nodePodsAccessible: true,
      provenAtMs: 'now',
    }),
  };

  it.each(Object.keys(cases))('is damaged if it is %s', async (name) => {
    const answers = {
      getImagePulledRecord: cases[name],
      listImagePulledRecords: { records: [sound, cases[name]], errors: [] },
    };
    const accessor = await openScripted({ answers });
    expect(await codeOf(() => accessor.getImagePulledRecord('ref'))).toBe(RECORD_CORRUPT);
    if (name === 'another imageRef') return;
    const listing = await accessor.listImagePulledRecords();
    expect(listing.records).toHaveLength(1);
    expect(listing.errors.map(errorCode)).toEqual([RECORD_CORRUPT]);
  });

  it('is a record if it is sound, and absence if it is undefined', async () => {
    const found = await openScripted({ answers: { getImagePulledRecord: sound } });
    expect(comparable(await found.getImagePulledRecord('ref'))).toEqual(comparable(sound));
    const absent = await openScripted({});
    expect(await absent.getImagePulledRecord('ref')).toBeUndefined();
  });
});

describe('a module that misbehaves', () => {
  it.each([1, 'true', null, undefined, {}])(
    'answers imagePullIntentExists with %j',
    async (answer) => {
      const accessor = await openScripted({ answers: { imagePullIntentExists: answer } });
      expect(await codeOf(() => accessor.imagePullIntentExists('a'))).toBe(STORE_UNAVAILABLE);
    },
  );

  it.each([undefined, null, [], {}, { records: [] }, { records: {}, errors: [] }])(
    'answers a listing with %j',
    async (answer) => {
      const answers = { listImagePullIntents: answer, listImagePulledRecords: answer };
      const accessor = await openScripted({ answers });
      expect(await codeOf(() => accessor.listImagePullIntents())).toBe(STORE_UNAVAILABLE);
      expect(await codeOf(() => accessor.listImagePulledRecords())).toBe(STORE_UNAVAILABLE);
    },
  );

  it('keeps the sound intents of a listing, and passes its errors on', async () => {
    const errors = [{ code: 'MY_RECORD_CORRUPT' }, 'text'];
    const listing = { records: [{ image: 'a' }, { image: 1 }, null, 'b'], errors };
    const accessor = await openScripted({ answers: { listImagePullIntents: listing } });
    const { records, errors: mapped } = await accessor.listImagePullIntents();
    expect(records).toEqual([{ image: 'a' }]);
    expect(mapped.map(errorCode)).toEqual([
      RECORD_CORRUPT,
      STORE_UNAVAILABLE,
      RECORD_CORRUPT,
      RECORD_CORRUPT,
      RECORD_CORRUPT,
    ]);
  });

  const calls: Record<string, (accessor: OwnedAccessor) => unknown> = {
    listImagePullIntents: (accessor) => accessor.listImagePullIntents(),
    imagePullIntentExists: (accessor) => accessor.imagePullIntentExists('a'),
    writeImagePullIntent: (accessor) => accessor.writeImagePullIntent('a'),
    deleteImagePullIntent: (accessor) => accessor.deleteImagePullIntent('a'),
    listImagePulledRecords: (accessor) => accessor.listImagePulledRecords(),
    getImagePulledRecord: (accessor) => accessor.getImagePulledRecord('a'),
    writeImagePulledRecord: (accessor) => accessor.writeImagePulledRecord(record('a')),
    deleteImagePulledRecord: (accessor) => accessor.deleteImagePulledRecord('a'),
    commit: (accessor) => accessor.commit([{ op: 'writeIntent', image: 'a' }]),
    close: (accessor) => accessor.close(),
  };

  it.each(Object.keys(calls))('throws, rejects or lacks %s', async (method) => {
    const call = calls[method]!;
    for (const how of ['throws', 'rejects']) {
      for (const [code, expected] of [
        ['ECONNRESET', STORE_UNAVAILABLE],
        ['MY_STORE_RECORD_CORRUPT', RECORD_CORRUPT],
        ['not an error', STORE_UNAVAILABLE],
      ] as const) {
        const accessor = await openScripted({ [how]: { [method]: code } });
        expect(await codeOf(() => call(accessor))).toBe(expected);
      }
    }
    const opening = openScripted({ missing: [method] });
    await expect(opening).rejects.toMatchObject({
      code: STORE_UNAVAILABLE,
      message: expect.stringMatching(new RegExp(`scripted-accessor.mjs.*${method}`)),
    });
  });

  it('cannot be opened', async () => {
    for (const opening of ['throws', 'rejects', 'undefined']) {
      expect(await codeOf(() => openScripted({ opening }))).toBe(STORE_UNAVAILABLE);
    }
    for (const name of ['no-default.mjs', 'throws-on-load.mjs', 'does-not-exist.mjs']) {
      const spec = { kind: 'module', url: fixture(name).href, options: {} } as const;
      await expect(openAccessor(spec, soleWorker())).rejects.toMatchObject({
        code: STORE_UNAVAILABLE,
        message: expect.stringContaining(name),
      });
    }
  });

  it('gets its default export one level down if it was compiled to CommonJS', async () => {
    const url = fixture('compiled-to-commonjs.cjs').href;
    const opening = openAccessor({ kind: 'module', url, options: {} }, soleWorker());
    await expect(opening).rejects.toThrow('without the method listImagePullIntents');
  });
});

describe('where a module is looked for', () => {
  const inDirectory = (name: string): string => pathToFileURL(`${process.cwd()}/${name}`).href;

  it('takes URLs and paths as they are, relative ones from the working directory', () => {
    expect(resolveModuleUrl(USER)).toBe(USER.href);
    expect(resolveModuleUrl(USER.href)).toBe(USER.href);
    expect(resolveModuleUrl('./stores/a b.mjs')).toBe(inDirectory('stores/a b.mjs'));
    expect(resolveModuleUrl('../a.mjs')).toBe(new URL('../a.mjs', inDirectory('x')).href);
    expect(resolveModuleUrl('/stores/a.mjs')).toBe('file:///stores/a.mjs');
    expect(resolveModuleUrl('data:text/javascript,')).toBe('data:text/javascript,');
  });

  it('takes anything else for a package', () => {
    expect(resolveModuleUrl('msgpackr')).toMatch(/^file:.*\/node_modules\/msgpackr\//);
    expect(resolveModuleUrl('node:fs')).toBe('node:fs');
    expect(resolveModuleUrl('fs')).toBe('node:fs');
    expect(() => resolveModuleUrl('no-such-package-anywhere')).toThrow(
      expect.objectContaining({
        code: 'ERR_PULLMANAGER_INVALID_ARGUMENT',
        argument: 'store.module',
        message: expect.stringContaining('no-such-package-anywhere'),
      }),
    );
  });
});
