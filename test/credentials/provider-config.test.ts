import { describe, expect, it } from 'vitest';
import { parseGoDuration } from '../../src/credentials/go-duration.ts';
import { JsonInputError } from '../../src/credentials/json-input.ts';
import {
  PROVIDER_CONFIG_BYTES_MAX,
  parseProviderConfig,
} from '../../src/credentials/provider-config.ts';

const PROVIDER = {
  name: 'ecr',
  matchImages: ['*.dkr.ecr.*.amazonaws.com', 'reg.io:5000/team'],
  defaultCacheDuration: '12h',
  apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
};
const TOKENS = {
  serviceAccountTokenAudience: 'reg.io',
  cacheType: 'ServiceAccount',
  requireServiceAccount: true,
};

function config(provider: object, top: object = {}): unknown {
  return {
    kind: 'CredentialProviderConfig',
    apiVersion: 'kubelet.config.k8s.io/v1',
    providers: [{ ...PROVIDER, ...provider }],
    ...top,
  };
}

function parse(document: unknown) {
  return parseProviderConfig(Buffer.from(JSON.stringify(document)));
}

function reasonOf(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    expect(error).toBeInstanceOf(JsonInputError);
    return (error as JsonInputError).reason;
  }
  throw new Error('was accepted');
}

describe('a configuration of credential providers', () => {
  it('is read with everything that it can say', () => {
    const [provider] = parse(
      config({
        args: ['get', '--x'],
        env: [{ name: 'A', value: 'b' }, { name: 'C' }],
        tokenAttributes: {
          ...TOKENS,
          requiredServiceAccountAnnotationKeys: ['a.io/role'],
          optionalServiceAccountAnnotationKeys: ['b'],
        },
      }),
    );
    expect(provider).toEqual({
      name: 'ecr',
      matchImages: [
        {
          host: '*.dkr.ecr.*.amazonaws.com',
          labels: ['*', 'dkr', 'ecr', '*', 'amazonaws', 'com'],
          port: '',
          path: '',
        },
        { host: 'reg.io', labels: ['reg', 'io'], port: '5000', path: '/team' },
      ],
      defaultCacheMs: 12 * 3_600_000,
      apiVersion: 'credentialprovider.kubelet.k8s.io/v1',
      args: ['get', '--x'],
      env: [
        ['A', 'b'],
        ['C', ''],
      ],
      tokenAttributes: {
        audience: 'reg.io',
        cacheType: 'ServiceAccount',
        requireServiceAccount: true,
        requiredAnnotationKeys: ['a.io/role'],
        optionalAnnotationKeys: ['b'],
      },
    });
  });

  it('can have any of the three versions, above and below', () => {
    for (const version of ['v1', 'v1beta1', 'v1alpha1']) {
      const apiVersion = `credentialprovider.kubelet.k8s.io/${version}`;
      const top = { apiVersion: `kubelet.config.k8s.io/${version}` };
      expect(parse(config({ apiVersion }, top))[0]!.apiVersion).toBe(apiVersion);
    }
  });

  const mistakes: readonly (readonly [name: string, document: unknown, reason: string | RegExp])[] =
    [
      ['another kind', config({}, { kind: 'Config' }), 'kind must be "CredentialProviderConfig"'],
      ['another version', config({}, { apiVersion: 'v9' }), /^apiVersion must be one of/],
      ['no providers', config({}, { providers: [] }), 'providers must not be empty'],
      ['providers that are an object', config({}, { providers: {} }), 'providers must be an array'],
      ['an unknown field', config({}, { more: 1 }), 'it has an unknown field "more"'],
      [
        'an unknown field of a provider',
        config({ timeout: '1s' }),
        'providers[0] has an unknown field "timeout"',
      ],
      ['no name', config({ name: '' }), /^providers\[0\]\.name must be the name of a file/],
      ['a path as the name', config({ name: '../x' }), /^providers\[0\]\.name/],
      ['a blank in the name', config({ name: 'a b' }), /^providers\[0\]\.name/],
      ['the directory as the name', config({ name: '..' }), /^providers\[0\]\.name/],
      [
        'one name twice',
        config({}, { providers: [PROVIDER, PROVIDER] }),
        'providers has two of the name "ecr"',
      ],
      ['no images', config({ matchImages: [] }), 'providers[0].matchImages must not be empty'],
      [
        'an image pattern that is none',
        config({ matchImages: ['a b'] }),
        'providers[0].matchImages[0] is not a registry location',
      ],
      [
        'a number as an image pattern',
        config({ matchImages: [1] }),
        'providers[0].matchImages[0] must be a string',
      ],
      [
        'no duration',
        config({ defaultCacheDuration: undefined }),
        /defaultCacheDuration must be a time/,
      ],
      [
        'a duration without a unit',
        config({ defaultCacheDuration: '12' }),
        /defaultCacheDuration must be a time/,
      ],
      [
        'a negative duration',
        config({ defaultCacheDuration: '-1s' }),
        /defaultCacheDuration must be a time/,
      ],
      [
        'a number as the duration',
        config({ defaultCacheDuration: 12 }),
        'providers[0].defaultCacheDuration must be a string',
      ],
      [
        'another version of requests',
        config({ apiVersion: 'v1' }),
        /^providers\[0\]\.apiVersion must be one of/,
      ],
      [
        'a NUL in an argument',
        config({ args: ['a\0b'] }),
        'providers[0].args[0] must not have a NUL',
      ],
      ['a variable without a name', config({ env: [{ value: 'x' }] }), /env\[0\]\.name must be/],
      ['a variable whose name has =', config({ env: [{ name: 'a=b' }] }), /env\[0\]\.name must be/],
      [
        'tokens with an older version',
        config({
          apiVersion: 'credentialprovider.kubelet.k8s.io/v1beta1',
          tokenAttributes: TOKENS,
        }),
        /tokenAttributes needs the apiVersion/,
      ],
      [
        'tokens without an audience',
        config({ tokenAttributes: { ...TOKENS, serviceAccountTokenAudience: '' } }),
        /Audience must not be empty/,
      ],
      [
        'tokens without a cache type',
        config({ tokenAttributes: { ...TOKENS, cacheType: undefined } }),
        /cacheType must be "ServiceAccount" or "Token"/,
      ],
      [
        'tokens without saying whether accounts are required',
        config({ tokenAttributes: { ...TOKENS, requireServiceAccount: undefined } }),
        /requireServiceAccount must be true or false/,
      ],
      [
        'required annotations of accounts that are not',
        config({
          tokenAttributes: {
            ...TOKENS,
            requireServiceAccount: false,
            requiredServiceAccountAnnotationKeys: ['a'],
          },
        }),
        /requireServiceAccount must be true/,
      ],
      [
        'an annotation that is required and optional',
        config({
          tokenAttributes: {
            ...TOKENS,
            requiredServiceAccountAnnotationKeys: ['a'],
            optionalServiceAccountAnnotationKeys: ['a'],
          },
        }),
        /is there more than once$/,
      ],
    ];
  for (const [name, document, reason] of mistakes) {
    it(`is refused with ${name}`, () => {
      const actual = reasonOf(() => parse(document));
      if (typeof reason === 'string') expect(actual).toBe(reason);
      else expect(actual).toMatch(reason);
    });
  }

  it('is refused as YAML and where it is too large', () => {
    const yaml = 'kind: CredentialProviderConfig\n';
    expect(reasonOf(() => parseProviderConfig(Buffer.from(yaml)))).toBe('it is not JSON');
    const large = Buffer.alloc(PROVIDER_CONFIG_BYTES_MAX + 1, ' ');
    expect(reasonOf(() => parseProviderConfig(large))).toMatch(/^it has more than/);
  });
});

describe('a time as Go writes it', () => {
  const times: readonly (readonly [text: string, ms: number | undefined])[] = [
    ['0', 0],
    ['0s', 0],
    ['-0', -0],
    ['12h0m0s', 12 * 3_600_000],
    ['1h30m', 90 * 60_000],
    ['1.5h', 90 * 60_000],
    ['.5s', 500],
    ['1.s', 1_000],
    ['300ms', 300],
    ['1us', 0.001],
    ['1µs', 0.001],
    ['1μs', 0.001],
    ['1ns', 0.000_001],
    ['+5s', 5_000],
    ['-5s', -5_000],
    ['2562047h', 2562047 * 3_600_000],
    ['2562048h', undefined],
    ['', undefined],
    ['1', undefined],
    ['s', undefined],
    ['.s', undefined],
    ['1d', undefined],
    ['1 s', undefined],
    [' 1s', undefined],
    ['1s ', undefined],
    ['1s-1s', undefined],
    ['1e3s', undefined],
    ['Infinitys', undefined],
  ];
  for (const [text, ms] of times) {
    it(`${JSON.stringify(text)} is ${ms === undefined ? 'none' : `${ms} ms`}`, () => {
      const actual = parseGoDuration(text);
      if (ms === undefined) expect(actual).toBeUndefined();
      else expect(actual).toBeCloseTo(ms, 9);
    });
  }
});
