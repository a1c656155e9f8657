/** Stores with something in them, for the tools that look after records. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterEach } from 'vitest';
import type { RecordWrite } from '../../src/accessors/accessor.ts';
import type { StoreOptions } from '../../src/accessors/backend.ts';
import type { ImagePulledRecord, ImagePullIntent } from '../../src/records/record.ts';
import { TRICKY_TEXTS } from '../../src/testing/samples.ts';
import { openStore } from '../accessors/open-store.ts';
import { account, secret } from './credentials.ts';

const LOG_STORE = fileURLToPath(new URL('../fixtures/stores/log-store.mjs', import.meta.url));
const directories: string[] = [];

afterEach(() => {
  for (const path of directories.splice(0)) rmSync(path, { recursive: true, force: true });
});

/** A new directory, removed after the test. */
export function newDirectory(): string {
  const path = mkdtempSync(join(tmpdir(), 'pullwarden-tools-'));
  directories.push(path);
  return path;
}

export const KINDS = ['journal', 'lmdb', 'module'] as const;
export type Kind = (typeof KINDS)[number];

/** A store that can be opened here and named on the command line. */
export interface NamedStore {
  readonly options: StoreOptions;
  /** Arguments that name it; `flag` is `store` or `from`. */
  readonly args: (flag?: 'store' | 'from') => string[];
}

/** A store of this kind in `directory`, which is not made yet. */
export function storeIn(directory: string, kind: Kind, name = 'store'): NamedStore {
  const path = join(directory, `${kind}-${name}`);
  if (kind !== 'module') {
    return { options: { kind, path }, args: (flag = 'store') => [`--${flag}`, `${kind}:${path}`] };
  }
  const options = { path };
  return {
    options: { module: LOG_STORE, options },
    args: (flag = 'store') => [
      `--${flag}`,
      `module:${LOG_STORE}`,
      `--${flag}-options`,
      JSON.stringify(options),
    ],
  };
}

/** Everything in a store, as plain values. */
export interface Content {
  readonly intents: ImagePullIntent[];
  readonly records: ImagePulledRecord[];
}

/** Writes to a store, which is made where it is missing. */
export async function fill(options: StoreOptions, batch: readonly RecordWrite[]): Promise<void> {
  const store = await openStore(options);
  await store.accessor.commit(batch);
  await store.dispose();
}

/** What a store holds. */
export async function contentOf(options: StoreOptions): Promise<Content> {
  const store = await openStore(options);
  try {
    const intents = await store.accessor.listImagePullIntents();
    const listed = await store.accessor.listImagePulledRecords();
    const records = listed.records.map(({ imageRef, lastUpdatedTime, credentialMapping }) => ({
      imageRef,
      lastUpdatedTime,
      credentialMapping,
    }));
    const byText = (a: string, b: string): number => (a < b ? -1 : 1);
    return {
      intents: [...intents.records].sort((a, b) => byText(a.image, b.image)),
      records: records.sort((a, b) => byText(a.imageRef, b.imageRef)),
    };
  } finally {
    await store.dispose();
  }
}

export const APP = 'registry.example.com/team-a/app';
export const BASE = 'docker.io/library/base';

/** A little of everything that a record can say. */
export function usualBatch(): RecordWrite[] {
  return [
    { op: 'writeIntent', image: `${APP}:next` },
    pulled('sha256:app', 1_700_000_000_123, {
      [APP]: {
        kubernetesSecrets: [
          secret('a', { provenAtMs: 1_699_999_999_999 }),
          secret('b', { credentialHash: '' }),
        ],
        kubernetesServiceAccounts: [account('c')],
      },
      [BASE]: {},
    }),
    pulled('sha256:base', 1_700_000_000_456, { [BASE]: { nodePodsAccessible: true } }),
    pulled('sha256:unproven', -62_135_596_800_000, {}),
  ];
}

/** A name that would change the title, the screen and the colour of a terminal. */
export const ESCAPES = '\u001b]0;title\u0007\u001b[2J\u001b[31mred';

/** Names that have broken programs before. */
export const HOSTILE: readonly string[] = [
  ...TRICKY_TEXTS,
  '..',
  ESCAPES,
  'line\nbreak\ttab\r',
  '\u202eright-to-left',
  'back\\slash',
  'lone-\ud800-surrogate',
];

/** A record and an intent under each hostile name, with hostile names in them. */
export function hostileBatch(): RecordWrite[] {
  return HOSTILE.flatMap((name, i): RecordWrite[] => [
    { op: 'writeIntent', image: name },
    pulled(name, 1_700_000_000_000 + i, {
      [name]: {
        kubernetesSecrets: [{ uid: name, namespace: name, name, credentialHash: `HASH-${i}` }],
      },
    }),
  ]);
}

export function pulled(
  imageRef: string,
  timeMs: number,
  mapping: ImagePulledRecord['credentialMapping'],
): RecordWrite {
  // Entries that are defined rather than assigned, so that `__proto__` is a name like any other.
  const credentialMapping = Object.fromEntries(Object.entries(mapping));
  const record = { imageRef, lastUpdatedTime: new Date(timeMs), credentialMapping };
  return { op: 'writePulled', record };
}
