import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { answeredFailureKind, localFailureKind } from '../../../src/runtime/cri/failure-kind.ts';
import type { ImageRuntimeErrorKind } from '../../../src/runtime/image-runtime.ts';

interface RecordedFailure {
  readonly containerd: string;
  readonly case: string;
  readonly code: number;
  readonly details: string;
}

const RECORDED = readFileSync(new URL('../../fixtures/cri/failures.jsonl', import.meta.url), 'utf8')
  .trim()
  .split('\n')
  .map((line) => JSON.parse(line) as RecordedFailure);

/** What each recorded case means, whatever the version says. */
const KIND_OF_CASE: Readonly<Record<string, ImageRuntimeErrorKind>> = {
  '08-pull-nocreds': 'denied',
  '09-pull-badpass': 'denied',
  '16-pull-present-badpass': 'denied',
  '17-pull-present-nocreds': 'denied',
  '33-pull-auth-field-bad-base64': 'denied',
  '34-pull-auth-serveraddress-other': 'denied',
  '35-pull-auth-serveraddress-same': 'denied',
  '36-pull-identitytoken-basicreg': 'denied',
  '37-pull-registrytoken-basicreg': 'denied',
  '38-pull-notag': 'notFound',
  '39-pull-norepo': 'notFound',
  '40-pull-norepo-nocreds': 'denied',
  '41-pull-malformed': 'invalidName',
  '42-pull-empty': 'invalidName',
  '43-pull-connrefused': 'registryUnavailable',
  '44-pull-unresolvable': 'registryUnavailable',
  'fault-01-f500': 'registryUnavailable',
  'fault-02-f502': 'registryUnavailable',
  'fault-03-f403': 'denied',
  'fault-04-f429': 'registryUnavailable',
  'fault-05-reset': 'registryUnavailable',
  'fault-06-html': 'registryUnavailable',
  'fault-07-corrupt': 'corrupt',
  'token-01-nocreds': 'denied',
  'token-02-badpass': 'denied',
  'token-03-carol-valid-user-noaccess': 'denied',
  'token-04-bob-other-repo': 'denied',
  'token-07-bob-present-noaccess': 'denied',
  'token-09-identity-token-bad': 'denied',
  'token-10-registry-token': 'denied',
};

/** A layer that is cut: what is missed depends on the version. */
const KINDS_OF_CUT: Readonly<Record<string, ImageRuntimeErrorKind>> = {
  '1.6.20': 'registryUnavailable',
  '1.7.24': 'corrupt',
  '2.1.9': 'corrupt',
};

/** What grpc-js itself has said. */
const LOCAL_KIND_OF_CASE: Readonly<Record<string, ImageRuntimeErrorKind>> = {
  '01-x-socket-absent': 'unavailable',
  'fault-09-slow-deadline': 'timeout',
  'kill-01-kill-mid-pull-200': 'unavailable',
  'kill-04-kill-mid-pull-700': 'unavailable',
  'kill-07-kill-mid-pull-1100': 'unavailable',
};

describe('failures of real runtimes', () => {
  it('were recorded', () => {
    expect(RECORDED).toHaveLength(100);
  });

  it.each(RECORDED.map((failure) => [failure.case, failure.containerd, failure] as const))(
    '%s on containerd %s has its kind',
    (name, version, { code, details }) => {
      const local = LOCAL_KIND_OF_CASE[name];
      if (local === undefined) {
        const expected = name === 'fault-08-cut' ? KINDS_OF_CUT[version] : KIND_OF_CASE[name];
        expect(expected).toBeDefined();
        expect(answeredFailureKind(code, details)).toBe(expected);
      } else {
        expect(localFailureKind(code, details, false)).toBe(local);
      }
    },
  );
});

describe('answeredFailureKind', () => {
  it.each([
    ['registryUnavailable', 2, 'RegistryUnavailable: pulling image'],
    ['registryUnavailable', 14, 'rpc error: code = Unknown desc = RegistryUnavailable: x'],
    ['signature', 2, 'SignatureValidationFailed: Source image rejected'],
    ['signature', 2, 'Source image rejected: A signature was required, but no signature exists'],
    ['denied', 7, 'anything'],
    ['denied', 16, 'anything'],
    ['notFound', 5, 'anything'],
    ['notFound', 2, 'reading manifest v1 in r.io/a: manifest unknown'],
    ['protocol', 12, 'unknown service runtime.v1.ImageService'],
    ['timeout', 4, 'context deadline exceeded'],
    ['unavailable', 14, 'anything'],
    ['unavailable', 1, 'context canceled'],
    ['invalidName', 3, 'invalid reference format'],
    ['corrupt', 15, 'anything'],
    ['other', 2, 'write /layer: no space left on device'],
    [
      'other',
      2,
      'failed to extract layer sha256:1: mount callback failed: unexpected EOF: unknown',
    ],
    ['other', 2, 'failed to prepare snapshot: mkdir /x: permission denied: unknown'],
    ['other', 13, 'anything'],
    ['protocol', 99, 'anything'],
    ['protocol', Number.NaN, 'anything'],
    [
      'registryUnavailable',
      2,
      'failed to authorize: failed to fetch oauth token: 503 x: 503 Service',
    ],
    [
      'registryUnavailable',
      2,
      'failed to fetch anonymous token: Get "https://a": net/http: TLS handshake timeout',
    ],
  ] as const)('is %s for code %s and the text %j', (kind, code, text) => {
    expect(answeredFailureKind(code, text)).toBe(kind);
  });

  it.each([
    'failed to pull and unpack image "r.io/unauthorized/i/o timeout:401": no space left on device',
    'from HEAD request to http://r.io/v2/insufficient_scope/manifests/1: no space left on device',
    'Head "https://r.io/v2/manifest unknown": no space left on device',
  ])('does not take names for reasons: %s', (text) => {
    expect(answeredFailureKind(2, text)).toBe('other');
  });
});

describe('a text that is made to be slow', () => {
  it.each(['\\"', 'desc = ', 'http://', ': 5', '"a'])('of many %j is read at once', (piece) => {
    const text = piece.repeat(65_536 / piece.length);
    // Were it not, ten would take longer than a test may.
    for (let i = 0; i < 10; i++) expect(answeredFailureKind(2, text)).toBe('other');
  });
});

describe('localFailureKind', () => {
  it('is a timeout where a call whose time is up was cancelled by the runtime', () => {
    expect(localFailureKind(1, 'Call cancelled', true)).toBe('timeout');
    expect(localFailureKind(1, 'Call cancelled', false)).toBe('unavailable');
  });
});
