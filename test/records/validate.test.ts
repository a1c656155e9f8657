import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { PullManagerError } from '../../src/errors.ts';
import { compareUtf8, type ImagePullCredentials } from '../../src/records/record.ts';
import {
  checkPodCredentials,
  compareCoordinates,
  normalizeCredentials,
  normalList,
} from '../../src/records/validate.ts';

const HASH = 'a55436fc140d516560d072c5fe8700385ce9f41629abf65c1edcbcb39fac691d';

function secret(namespace: string, name: string, uid: string, credentialHash = HASH) {
  return { uid, namespace, name, credentialHash };
}

function account(namespace: string, name: string, uid: string) {
  return { uid, namespace, name };
}

function errorOf(value: unknown): PullManagerError {
  try {
    normalizeCredentials(value);
  } catch (error) {
    expect(error).toBeInstanceOf(PullManagerError);
    return error as PullManagerError;
  }
  throw new Error('nothing was thrown');
}

function isDeeplyFrozen(value: unknown): boolean {
  if (typeof value !== 'object' || value === null) return true;
  return Object.isFrozen(value) && Object.values(value).every(isDeeplyFrozen);
}

const bare = (fields: object): object => Object.assign(Object.create(null), fields);
const accounts = (item: unknown) => ({ kubernetesServiceAccounts: [item] });

describe('the normal form of credentials', () => {
  it.each<{ name: string; given: unknown; wanted: unknown }>([
    { name: 'null stays null', given: null, wanted: null },
    { name: 'nothing stays nothing', given: {}, wanted: {} },
    {
      name: 'empty lists, null and false are left out',
      given: { nodePodsAccessible: false, kubernetesSecrets: [], kubernetesServiceAccounts: null },
      wanted: {},
    },
    {
      name: 'undefined counts as absent',
      given: {
        nodePodsAccessible: undefined,
        kubernetesSecrets: undefined,
        kubernetesServiceAccounts: undefined,
        provenAtMs: undefined,
      },
      wanted: {},
    },
    {
      name: 'node-wide access drops the lists',
      given: {
        nodePodsAccessible: true,
        kubernetesSecrets: [secret('n', 's', 'u')],
        kubernetesServiceAccounts: [account('n', 'a', 'u')],
      },
      wanted: { nodePodsAccessible: true },
    },
    {
      name: 'node-wide access keeps its time',
      given: { nodePodsAccessible: true, provenAtMs: 5 },
      wanted: { nodePodsAccessible: true, provenAtMs: 5 },
    },
    {
      name: 'a time beside lists is left out',
      given: { kubernetesSecrets: [secret('n', 's', 'u')], provenAtMs: 5 },
      wanted: { kubernetesSecrets: [secret('n', 's', 'u')] },
    },
    {
      name: 'lists are sorted by namespace, name and uid',
      given: {
        kubernetesSecrets: [
          secret('b', 'a', 'a'),
          secret('a', 'b', 'a'),
          secret('a', 'a', 'b'),
          secret('a', 'a', 'a'),
        ],
        kubernetesServiceAccounts: [account('b', 'a', '1'), account('a', 'c', '2')],
      },
      wanted: {
        kubernetesSecrets: [
          secret('a', 'a', 'a'),
          secret('a', 'a', 'b'),
          secret('a', 'b', 'a'),
          secret('b', 'a', 'a'),
        ],
        kubernetesServiceAccounts: [account('a', 'c', '2'), account('b', 'a', '1')],
      },
    },
    {
      name: 'sorting is by UTF-8 bytes, not by UTF-16 units',
      given: { kubernetesSecrets: [secret('\u{1f600}', 's', 'u'), secret('\uff5e', 's', 'u')] },
      wanted: { kubernetesSecrets: [secret('\uff5e', 's', 'u'), secret('\u{1f600}', 's', 'u')] },
    },
    {
      name: 'of duplicates the last one wins',
      given: {
        kubernetesSecrets: [
          secret('n', 's', 'u', 'first'),
          secret('n', 'other', 'u'),
          secret('n', 's', 'u', 'last'),
        ],
        kubernetesServiceAccounts: [
          { ...account('n', 'a', 'u'), provenAtMs: 2 },
          { ...account('n', 'a', 'u'), provenAtMs: 1 },
        ],
      },
      wanted: {
        kubernetesSecrets: [secret('n', 'other', 'u'), secret('n', 's', 'u', 'last')],
        kubernetesServiceAccounts: [{ ...account('n', 'a', 'u'), provenAtMs: 1 }],
      },
    },
    {
      name: 'coordinates are not confused by what separates them',
      given: { kubernetesSecrets: [secret('a', 'b/c', 'u'), secret('a/b', 'c', 'u')] },
      wanted: { kubernetesSecrets: [secret('a', 'b/c', 'u'), secret('a/b', 'c', 'u')] },
    },
    {
      name: 'empty texts are texts',
      given: { kubernetesSecrets: [secret('', '', '', '')] },
      wanted: { kubernetesSecrets: [secret('', '', '', '')] },
    },
  ])('$name', ({ given, wanted }) => {
    expect(normalizeCredentials(given)).toStrictEqual(wanted);
  });

  it('shares nothing with what was given, and is frozen throughout', () => {
    const given = {
      kubernetesSecrets: [secret('n', 's', 'u')],
      kubernetesServiceAccounts: [account('n', 'a', 'u')],
    };
    const before = structuredClone(given);
    const normal = normalizeCredentials(given);
    given.kubernetesSecrets[0]!.credentialHash = 'changed';
    given.kubernetesServiceAccounts.pop();
    expect(normal).toStrictEqual(before);
    expect(isDeeplyFrozen(normal)).toBe(true);
    expect(isDeeplyFrozen(normalizeCredentials({ nodePodsAccessible: true }))).toBe(true);
    expect(isDeeplyFrozen(normalizeCredentials({}))).toBe(true);
  });

  it('accepts objects without a prototype', () => {
    const given = bare({ kubernetesSecrets: [bare(secret('n', 's', 'u'))] });
    expect(normalizeCredentials(given)).toStrictEqual({
      kubernetesSecrets: [secret('n', 's', 'u')],
    });
  });

  it('counts own enumerable fields only', () => {
    const hidden = Object.defineProperty({}, 'nodePodsAccessible', { value: true });
    expect(normalizeCredentials(hidden)).toStrictEqual({});
    const inherited = Object.create(
      Object.assign(Object.create(null), { nodePodsAccessible: true }),
    );
    expect(normalizeCredentials(inherited)).toStrictEqual({});
    expect(normalizeCredentials({ [Symbol('x')]: 1 })).toStrictEqual({});
  });

  it('reads every field once', () => {
    let reads = 0;
    const given = {
      get nodePodsAccessible(): unknown {
        reads++;
        return reads === 1 ? false : 'changed';
      },
    };
    expect(normalizeCredentials(given)).toStrictEqual({});
    expect(reads).toBe(1);
  });
});

describe('credentials that are refused', () => {
  const good = secret('n', 's', 'u');
  const list = (item: unknown) => ({ kubernetesSecrets: [good, item] });
  const { uid: _uid, ...withoutUid } = good;
  const { credentialHash: _hash, ...withoutHash } = good;

  it.each<[unknown, string]>([
    [undefined, 'credentials'],
    ['text', 'credentials'],
    [true, 'credentials'],
    [[], 'credentials'],
    [() => ({}), 'credentials'],
    [new Map(), 'credentials'],
    [new Date(0), 'credentials'],
    [Object.create({ nodePodsAccessible: true }), 'credentials'],
    [{ nodePodsAccessible: 'true' }, 'credentials.nodePodsAccessible'],
    [{ nodePodsAccessible: null }, 'credentials.nodePodsAccessible'],
    [{ nodePodsAccessible: 1 }, 'credentials.nodePodsAccessible'],
    [{ nodePodsAccesible: true }, 'credentials.nodePodsAccesible'],
    [{ NodePodsAccessible: true }, 'credentials.NodePodsAccessible'],
    [{ extra: undefined }, 'credentials.extra'],
    [{ 'a b': 1 }, 'credentials["a b"]'],
    [JSON.parse('{"__proto__": {"nodePodsAccessible": true}}'), 'credentials.__proto__'],
    [{ constructor: 1 }, 'credentials.constructor'],
    [{ provenAtMs: '5' }, 'credentials.provenAtMs'],
    [{ provenAtMs: null }, 'credentials.provenAtMs'],
    [{ provenAtMs: Number.NaN }, 'credentials.provenAtMs'],
    [{ provenAtMs: Number.POSITIVE_INFINITY }, 'credentials.provenAtMs'],
    [{ provenAtMs: 8.64e15 + 1 }, 'credentials.provenAtMs'],
    [{ kubernetesSecrets: {} }, 'credentials.kubernetesSecrets'],
    [{ kubernetesSecrets: 'x' }, 'credentials.kubernetesSecrets'],
    [{ kubernetesSecrets: new Set() }, 'credentials.kubernetesSecrets'],
    [{ kubernetesSecrets: { length: 0 } }, 'credentials.kubernetesSecrets'],
    [{ kubernetesSecrets: Object.assign([], { length: 1 }) }, 'credentials.kubernetesSecrets[0]'],
    [list(null), 'credentials.kubernetesSecrets[1]'],
    [list(undefined), 'credentials.kubernetesSecrets[1]'],
    [list('x'), 'credentials.kubernetesSecrets[1]'],
    [list([]), 'credentials.kubernetesSecrets[1]'],
    [list(withoutUid), 'credentials.kubernetesSecrets[1].uid'],
    [list({ ...good, uid: undefined }), 'credentials.kubernetesSecrets[1].uid'],
    [list({ ...good, uid: 7 }), 'credentials.kubernetesSecrets[1].uid'],
    [list({ ...good, namespace: null }), 'credentials.kubernetesSecrets[1].namespace'],
    [list({ ...good, name: {} }), 'credentials.kubernetesSecrets[1].name'],
    [list(withoutHash), 'credentials.kubernetesSecrets[1].credentialHash'],
    [list({ ...good, credentialHash: 7 }), 'credentials.kubernetesSecrets[1].credentialHash'],
    [list({ ...good, provenAtMs: '1' }), 'credentials.kubernetesSecrets[1].provenAtMs'],
    [list({ ...good, password: 'x' }), 'credentials.kubernetesSecrets[1].password'],
    [{ kubernetesServiceAccounts: 7 }, 'credentials.kubernetesServiceAccounts'],
    [accounts(null), 'credentials.kubernetesServiceAccounts[0]'],
    [accounts(good), 'credentials.kubernetesServiceAccounts[0].credentialHash'],
    [accounts({ uid: '', name: '' }), 'credentials.kubernetesServiceAccounts[0].namespace'],
    [{ nodePodsAccessible: true, kubernetesSecrets: [{}] }, 'credentials.kubernetesSecrets[0].uid'],
  ])('are named by the path of the fault: case %#, %o', (value, argument) => {
    const error = errorOf(value);
    expect(error.code).toBe('ERR_PULLMANAGER_INVALID_ARGUMENT');
    expect(error.argument).toBe(argument);
    expect(error.message.startsWith(argument)).toBe(true);
  });

  it('never show a hash', () => {
    for (const fault of [{ uid: 7 }, { extra: 1 }, { provenAtMs: 'x' }, { name: [HASH] }]) {
      const { message } = errorOf({ kubernetesSecrets: [{ ...good, ...fault }] });
      expect(message).not.toContain(HASH);
    }
    const { message } = errorOf({ kubernetesSecrets: [{ ...good, credentialHash: [HASH] }] });
    expect(message).not.toContain(HASH);
  });

  it('have long or strange field names shortened', () => {
    const { message } = errorOf({ ['x'.repeat(1e5)]: 1 });
    expect(message.length).toBeLessThan(300);
    expect(errorOf({ 'a\n': 1 }).message).not.toContain('\n');
  });

  it('leave the prototype of all objects alone', () => {
    errorOf(JSON.parse('{"kubernetesSecrets": [{"__proto__": {"uid": "polluted"}}]}'));
    expect(({} as { uid?: unknown }).uid).toBeUndefined();
  });

  it('are refused whatever they are, with an error of the engine', () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true }), (value) => {
        fc.pre(value !== null);
        try {
          expect(normalizeCredentials(value)).toStrictEqual({});
        } catch (error) {
          expect(error).toMatchObject({ code: 'ERR_PULLMANAGER_INVALID_ARGUMENT' });
        }
      }),
    );
  });
});

const text = fc.constantFrom('', 'a', 'b', 'ab', '\uff5e', '\u{1f600}', '__proto__');
const coordinates = fc.record({ uid: text, namespace: text, name: text });
const credentials = fc.record(
  {
    nodePodsAccessible: fc.boolean(),
    kubernetesSecrets: fc.array(
      fc.tuple(coordinates, text).map(([at, credentialHash]) => ({ ...at, credentialHash })),
    ),
    kubernetesServiceAccounts: fc.array(coordinates),
  },
  { requiredKeys: [] },
);

const bytes = ({ namespace, name, uid }: { namespace: string; name: string; uid: string }) =>
  [namespace, name, uid].map((part) => Buffer.from(part));
const compareBytes = (a: Buffer[], b: Buffer[]): number => {
  for (const [i, part] of a.entries()) {
    const order = Buffer.compare(part, b[i]!);
    if (order !== 0) return order;
  }
  return 0;
};

describe('any valid credentials', () => {
  it('have a normal form that is its own normal form', () => {
    fc.assert(
      fc.property(credentials, (given) => {
        const normal = normalizeCredentials(given);
        expect(normalizeCredentials(normal)).toStrictEqual(normal);
      }),
    );
  });

  it('are sorted by UTF-8 bytes, without duplicates, and lose no coordinates', () => {
    fc.assert(
      fc.property(credentials, (given) => {
        fc.pre(given.nodePodsAccessible !== true);
        const { kubernetesSecrets = [] } = normalizeCredentials(given) as ImagePullCredentials;
        for (const [i, item] of kubernetesSecrets.slice(1).entries()) {
          expect(compareBytes(bytes(kubernetesSecrets[i]!), bytes(item))).toBeLessThan(0);
        }
        for (const wanted of given.kubernetesSecrets ?? []) {
          const found = kubernetesSecrets.filter((s) => compareCoordinates(s, wanted) === 0);
          const last = given.kubernetesSecrets?.findLast(
            (s) => compareCoordinates(s, wanted) === 0,
          );
          expect(found).toEqual([last]);
        }
      }),
    );
  });

  it('are not modified', () => {
    fc.assert(
      fc.property(credentials, (given) => {
        const before = structuredClone(given);
        normalizeCredentials(given);
        expect(given).toEqual(before);
      }),
    );
  });
});

describe('a list in normal form', () => {
  it('is returned as it is', () => {
    const list = [account('a', 'a', 'a'), account('a', 'a', 'b')];
    expect(normalList(list)).toBe(list);
    const empty: never[] = [];
    expect(normalList(empty)).toBe(empty);
  });

  it('is made of one that is not, which stays as it was', () => {
    const list = Object.freeze([account('b', 'a', 'a'), account('a', 'a', 'a')]);
    const normal = normalList(list);
    expect(normal).toEqual([account('a', 'a', 'a'), account('b', 'a', 'a')]);
    expect(Object.isFrozen(normal)).toBe(true);
  });
});

describe('the order of coordinates', () => {
  it('asks namespace, then name, then uid', () => {
    fc.assert(
      fc.property(coordinates, coordinates, (a, b) => {
        const wanted =
          compareUtf8(a.namespace, b.namespace) ||
          compareUtf8(a.name, b.name) ||
          compareUtf8(a.uid, b.uid);
        expect(Math.sign(compareCoordinates(a, b))).toBe(Math.sign(wanted));
      }),
    );
  });
});

describe('what a pod presents', () => {
  const good = secret('n', 's', 'u');

  it.each<[unknown]>([
    [{}],
    [{ secrets: [] }],
    [{ secrets: [good, good] }],
    [{ serviceAccount: account('n', 'a', 'u') }],
    [{ secrets: [good], serviceAccount: account('n', 'a', 'u') }],
    [{ secrets: undefined, serviceAccount: undefined }],
    [{ secrets: [{ ...good, extra: 1 }], serviceAccount: good, extra: 1 }],
    [{ secrets: Object.freeze([Object.freeze(good)]) }],
  ])('is fine: case %#', (value) => {
    expect(checkPodCredentials(value)).toBeUndefined();
  });

  it.each<[unknown, string]>([
    [undefined, 'credentials'],
    [null, 'credentials'],
    ['text', 'credentials'],
    [[good], 'credentials'],
    [() => ({}), 'credentials'],
    [{ secrets: null }, 'credentials.secrets'],
    [{ secrets: good }, 'credentials.secrets'],
    [{ secrets: new Set([good]) }, 'credentials.secrets'],
    [{ secrets: [null] }, 'credentials.secrets[0]'],
    [{ secrets: [good, 'text'] }, 'credentials.secrets[1]'],
    [{ secrets: Object.assign([], { length: 1 }) }, 'credentials.secrets[0]'],
    [{ secrets: [good, {}] }, 'credentials.secrets[1].uid'],
    [{ secrets: [{ ...good, namespace: 7 }] }, 'credentials.secrets[0].namespace'],
    [{ secrets: [{ ...good, name: null }] }, 'credentials.secrets[0].name'],
    [{ secrets: [account('n', 's', 'u')] }, 'credentials.secrets[0].credentialHash'],
    [{ secrets: [{ ...good, credentialHash: [HASH] }] }, 'credentials.secrets[0].credentialHash'],
    [{ serviceAccount: null }, 'credentials.serviceAccount'],
    [{ serviceAccount: 'text' }, 'credentials.serviceAccount'],
    [{ serviceAccount: { uid: 'u' } }, 'credentials.serviceAccount.namespace'],
    [{ serviceAccount: { uid: 'u', namespace: 'n' } }, 'credentials.serviceAccount.name'],
  ])('is named by the path of the fault: case %#', (value, argument) => {
    const error = checkPodCredentials(value);
    expect(error?.code).toBe('ERR_PULLMANAGER_INVALID_ARGUMENT');
    expect(error?.argument).toBe(argument);
    expect(error?.message).not.toContain(HASH);
  });
});
