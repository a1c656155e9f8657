import { describe, expect, it } from 'vitest';
import {
  Dictionary,
  TEXT_UNITS_REMEMBERED,
  TEXTS_PER_REQUEST,
} from '../../src/protocol/dictionary.ts';
import type { ImagePullCredentials } from '../../src/records/record.ts';
import { normalizeCredentials } from '../../src/records/validate.ts';
import { secret } from '../support/credentials.ts';

const LIMITS = { texts: 8, credentials: 4 };

function proven(uid: string, credentialHash: string): ImagePullCredentials {
  return normalizeCredentials({ kubernetesSecrets: [secret('a', { uid, credentialHash })] })!;
}

describe('a dictionary', () => {
  it('gives one entry for one text', () => {
    const dictionary = new Dictionary();
    dictionary.beginRequest();
    const entry = dictionary.text('app');
    expect(entry).toMatchObject({ text: 'app', sentTo: 0 });
    dictionary.beginRequest();
    expect(dictionary.text('app')).toBe(entry);
  });

  it('never gives one number to two texts of a request, however often it gives numbers again', () => {
    const dictionary = new Dictionary(LIMITS);
    for (let request = 0; request < 10_000; request++) {
      dictionary.beginRequest();
      // Old and new texts, in changing order.
      const texts = [`a${request % 7}`, `b${request}`, `c${request % 3}`];
      const ids = texts.map((text) => dictionary.text(text).id);
      expect(new Set(ids).size).toBe(3);
      for (const id of ids) expect(id).toBeLessThan(2 * LIMITS.texts);
    }
  });

  it('forgets a number only with its entry: what is sent again is a new one', () => {
    const dictionary = new Dictionary(LIMITS);
    /** By number, as a worker has it after all that was sent. */
    const sent: string[] = [];
    for (let request = 0; request < 10_000; request++) {
      dictionary.beginRequest();
      for (const text of [`a${(request * request) % 11}`, `b${request % 4}`, `c${request % 13}`]) {
        const entry = dictionary.text(text);
        if (entry.sentTo === 0) sent[entry.id] = text;
        entry.sentTo = 1;
        expect(sent[entry.id]).toBe(text);
      }
      if (request % 1000 === 999) dictionary.startOver();
    }
  });

  it('does not remember long texts, and never gives two of a request the same number', () => {
    const dictionary = new Dictionary(LIMITS);
    const long = (i: number): string => `${i}`.padEnd(TEXT_UNITS_REMEMBERED + 1, '-');
    for (let i = 0; i < 10; i++) {
      dictionary.beginRequest();
      const entries = [long(i), `short${i}`, long(i + 1)].map((text) => dictionary.text(text));
      expect(new Set(entries.map(({ id }) => id)).size).toBe(3);
      expect(entries.map(({ sentTo }) => sentTo)).toEqual([0, 0, 0]);
      for (const entry of entries) {
        expect(entry.id).toBeLessThan(2 * LIMITS.texts + 3);
        entry.sentTo = 1;
      }
    }
  });

  it('gives numbers to the coordinates of one secret, which are texts like others', () => {
    const dictionary = new Dictionary();
    dictionary.beginRequest();
    const image = dictionary.text('1');
    const interned = dictionary.secretOf(dictionary.credentials(proven('1', 'abc')))!;
    const { namespace, name } = secret('a', {});
    expect(interned.uid).toBe(image);
    expect([interned.namespace.text, interned.name.text]).toEqual([namespace, name]);
    expect(interned.credentialHash).toBe('abc');
  });

  it.each([
    ['a uid that UTF-8 would change', proven('\ud800', 'abc')],
    ['a hash that UTF-8 would change', proven('1', '\udfff')],
    ['a long uid', proven('u'.repeat(TEXT_UNITS_REMEMBERED + 1), 'abc')],
    ['a long hash', proven('1', 'h'.repeat(TEXT_UNITS_REMEMBERED + 1))],
    ['node-wide access', normalizeCredentials({ nodePodsAccessible: true })!],
  ])('does not take %s for a secret that can be sent so', (_, given) => {
    const dictionary = new Dictionary();
    dictionary.beginRequest();
    expect(dictionary.secretOf(dictionary.credentials(given))).toBeUndefined();
  });

  it('has room for the texts of one request at least', () => {
    expect(() => new Dictionary({ texts: TEXTS_PER_REQUEST - 1, credentials: 4 })).toThrow(
      RangeError,
    );
  });

  it('knows credentials of one secret again by all that they consist of', () => {
    const dictionary = new Dictionary();
    const entry = dictionary.credentials(proven('1', 'abc'));
    expect(dictionary.credentials(proven('1', 'abc'))).toBe(entry);
    for (const [uid, hash] of [
      ['2', 'abc'],
      ['1', 'abd'],
    ] as const) {
      const other = dictionary.credentials(proven(uid, hash));
      expect(other).not.toBe(entry);
      expect(other.credentials).toEqual(proven(uid, hash));
    }
  });

  it('takes nothing for what it is not, with any credentials in any order', () => {
    const dictionary = new Dictionary(LIMITS);
    const nodeWide = normalizeCredentials({ nodePodsAccessible: true })!;
    const account = normalizeCredentials({
      kubernetesServiceAccounts: [{ uid: '1', namespace: 'a', name: 'b' }],
    })!;
    const timed = normalizeCredentials({
      kubernetesSecrets: [{ ...secret('a'), provenAtMs: 5 }],
    })!;
    const all = [
      nodeWide,
      account,
      timed,
      proven('u'.repeat(5000), ''),
      ...Array.from({ length: 20 }, (_, i) => proven(`${i % 5}`, `${i}`)),
    ];
    for (let i = 0; i < 5000; i++) {
      const given = all[(i * 7 + (i >> 4)) % all.length]!;
      expect(dictionary.credentials(given).credentials).toEqual(given);
    }
  });
});
