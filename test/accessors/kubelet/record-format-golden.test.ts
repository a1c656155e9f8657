/** Record files of real kubelets: see test/fixtures/kubelet-records/README.md. */
import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import {
  decodeIntent,
  decodePulled,
  encodeIntent,
  encodePulled,
  RecordFormatError,
  recordFileName,
} from '../../../src/accessors/kubelet/record-format.ts';
import {
  type CompatibilityLevel,
  KUBELET_BEHAVIOUR,
  type RecordVersion,
} from '../../../src/compatibility.ts';
import type { ImagePullCredentials } from '../../../src/records/record.ts';

const ROOT = new URL('../../fixtures/kubelet-records/', import.meta.url);
const DIGEST_1 = 'sha256:33735bd63cf84d7e388d9f6d297d348c523c044410f553bd878c6d7829612735';
const DIGEST_2 = 'sha256:248defba80845ccb7696df349108f66ebdc63d7378208e072ead75054c702336';
const DIGEST_3 = 'sha256:f24acc752be18b93b0504c86312bbaf482c9efb0c45e925bbccb0a591cebd7af';
const NODE_WIDE: ImagePullCredentials = { nodePodsAccessible: true };

function secret(uid: string, namespace: string, credentialHash: string): ImagePullCredentials {
  return { kubernetesSecrets: [{ uid, namespace, name: 'pull-secret', credentialHash }] };
}

interface Golden {
  /** Directory, first 8 digits of the name, and what follows the name. */
  readonly file: string;
  readonly bytes: number;
  readonly newline: boolean;
  readonly version: RecordVersion;
  readonly key: string;
  /** By name; absent: an intent, or a file that no level can decode. */
  readonly mapping?: Record<string, ImagePullCredentials>;
  /** The levels at which it decodes. */
  readonly decodes: readonly CompatibilityLevel[];
}

const ALL: readonly CompatibilityLevel[] = ['v1.33', 'v1.34', 'v1.35', 'v1.36'];
const NEW = ALL.slice(2);
const test = 'docker.io/testing/test';
const hash = 'testsecrethash';

// biome-ignore format: a table
const GOLDEN: readonly Golden[] = [
  { file: 'pulling/5f3ca9e4', bytes: 110, newline: true, version: 'v1beta1', key: 'secretorg/myimage:customtag', decodes: NEW },
  { file: 'pulling/6da3dced', bytes: 119, newline: true, version: 'v1alpha1', key: 'docker.io/testing/test-alpha:latest', decodes: ALL },
  { file: 'pulling/7ffc99ef', bytes: 162, newline: true, version: 'v1beta1', key: `testing@${DIGEST_3}`, decodes: NEW },
  { file: 'pulling/aef2af22', bytes: 111, newline: false, version: 'v1beta1', key: 'docker.io/testing/test:latest', decodes: NEW },
  { file: 'pulling/b6e1482b', bytes: 111, newline: true, version: 'v1alpha1', key: 'repo.repo/test/alphatest:v1', decodes: ALL },
  { file: 'pulling/ee81caca', bytes: 105, newline: false, version: 'v1alpha1', key: 'repo.repo/test/test:v1', decodes: ALL },
  { file: 'pulling/f24acc75', bytes: 115, newline: false, version: 'v1alpha1', key: 'docker.io/testing/test:something', decodes: ALL },
  { file: 'pulled/0553787e', bytes: 394, newline: false, version: 'v1beta1', key: `docker.io/testing/test@${DIGEST_1}`, mapping: { [test]: secret('testsecretuid', 'default', hash) }, decodes: NEW },
  { file: 'pulled/38a89064', bytes: 302, newline: false, version: 'v1alpha1', key: 'test-brokenhash', mapping: { [test]: secret('testsecretuid', 'default', '') }, decodes: ALL },
  { file: 'pulled/7045bdd4', bytes: 156, newline: true, version: 'v1alpha1', key: 'testemptycredmapping-alpha', mapping: {}, decodes: ALL },
  { file: 'pulled/917e8b34', bytes: 285, newline: true, version: 'v1alpha1', key: 'testimageref-sa', mapping: { [test]: { kubernetesServiceAccounts: [{ uid: 'test-sa-uid', namespace: 'default', name: 'test-sa' }] } }, decodes: ALL.slice(1) },
  { file: 'pulled/a2eace21', bytes: 221, newline: false, version: 'v1beta1', key: 'testimage-anonpull', mapping: { [test]: NODE_WIDE }, decodes: NEW },
  { file: 'pulled/b3c0cc42', bytes: 313, newline: false, version: 'v1alpha1', key: 'testimageref', mapping: { [test]: secret('testsecretuid', 'default', hash) }, decodes: ALL },
  { file: 'pulled/d77ed748', bytes: 328, newline: false, version: 'v1beta1', key: 'testimageref1', mapping: { [test]: secret('testsecretuid-different', 'different-ns', hash) }, decodes: NEW },
  { file: 'pulled/dd1dd8dc', bytes: 229, newline: true, version: 'v1alpha1', key: 'testimage-anonpull-alpha', mapping: { [test]: NODE_WIDE }, decodes: ALL },
  { file: 'pulled/e766e462', bytes: 318, newline: false, version: 'v1alpha1', key: 'testbrokenrecord', decodes: [] },
  { file: 'pulled/e9ee0ffa', bytes: 414, newline: false, version: 'v1beta1', key: `docker.io/testing/test-different@${DIGEST_2}`, mapping: { 'docker.io/testing/test-different': secret('testsecretuid', 'default', hash) }, decodes: NEW },
  { file: 'pulled/f4058727', bytes: 323, newline: false, version: 'v1alpha1', key: 'policyallowed', mapping: { 'docker.io/testing/policyexempt': secret('testsecretuid', 'secretns', hash) }, decodes: ALL },
  { file: 'pulled/f8778b63', bytes: 149, newline: false, version: 'v1alpha1', key: 'testemptycredmapping', mapping: {}, decodes: ALL },
  { file: 'observed-preloaded/0eeec2fe', bytes: 199, newline: false, version: 'v1beta1', key: 'testexistingref', decodes: [] },
  { file: 'observed-preloaded/22bbdb43', bytes: 201, newline: false, version: 'v1beta1', key: 'preloaded-delete-ref', decodes: [] },
  { file: 'observed-preloaded/23a5b68c', bytes: 227, newline: false, version: 'v1beta1', key: 'preloaded-keep-ref', decodes: [] },
  { file: 'observed-preloaded/adf2f7cc', bytes: 204, newline: false, version: 'v1beta1', key: 'preloaded-nomatch-ref', decodes: [] },
  { file: 'observed-preloaded/b3c0cc42', bytes: 201, newline: false, version: 'v1beta1', key: 'testimageref', decodes: [] },
  { file: 'alternates/60eb8ffb.misfiled', bytes: 221, newline: false, version: 'v1beta1', key: 'testimage-anonpull', mapping: { [test]: NODE_WIDE }, decodes: NEW },
  { file: 'alternates/a2eace21.v1alpha1', bytes: 222, newline: false, version: 'v1alpha1', key: 'testimage-anonpull', mapping: { [test]: NODE_WIDE }, decodes: ALL },
  { file: 'alternates/b3c0cc42.draft-field-name', bytes: 323, newline: false, version: 'v1alpha1', key: 'testimageref', decodes: [] },
  { file: 'alternates/dd1dd8dc.null-secrets', bytes: 254, newline: true, version: 'v1alpha1', key: 'testimage-anonpull-alpha', mapping: { [test]: NODE_WIDE }, decodes: ALL },
];

const stored = readdirSync(ROOT, { recursive: true, encoding: 'utf8' }).filter((path) =>
  /\/sha256-/.test(path),
);

function pathOf(file: string): string {
  const [, directory, digits, suffix] = /^(.+)\/([0-9a-f]{8})(.*)$/.exec(file)!;
  const isIt = new RegExp(`^${directory}/sha256-${digits}[0-9a-f]{56}${suffix}$`);
  const paths = stored.filter((path) => isIt.test(path));
  expect(paths).toHaveLength(1);
  return paths[0]!;
}

function read(golden: Golden): Buffer {
  return readFileSync(new URL(pathOf(golden.file), ROOT));
}

function reasonOf(decode: () => unknown): string {
  try {
    decode();
  } catch (error) {
    expect(error).toBeInstanceOf(RecordFormatError);
    return (error as RecordFormatError).message;
  }
  throw new Error('it was decoded');
}

const isIntent = ({ file }: Golden) => file.startsWith('pulling/');
const timeOf = ({ key }: Golden) =>
  key === 'testimage-anonpull-alpha' ? '2025-06-21T12:26:40Z' : '2024-10-21T12:26:40Z';
const isWhole = ({ decodes }: Golden) => decodes.length > 0;

describe('record files of the kubelet', () => {
  it('are all in the table', () => {
    expect(stored.toSorted()).toEqual(GOLDEN.map(({ file }) => pathOf(file)).toSorted());
  });

  it.each(GOLDEN)('$file has its bytes, and the name of its key', (golden) => {
    const file = read(golden);
    expect(file).toHaveLength(golden.bytes);
    expect(file.at(-1) === 0x0a).toBe(golden.newline);
    const name = pathOf(golden.file)
      .split('/')[1]!
      .slice(0, 'sha256-'.length + 64);
    const expected = golden.file.endsWith('.misfiled') ? 'somewhere-else' : golden.key;
    expect(name).toBe(recordFileName(expected));
  });

  it.each(GOLDEN)('$file decodes at exactly these levels: $decodes', (golden) => {
    const file = read(golden);
    for (const level of ALL) {
      const from = KUBELET_BEHAVIOUR[level];
      const decode = () => (isIntent(golden) ? decodeIntent(file, from) : decodePulled(file, from));
      if (!golden.decodes.includes(level)) {
        expect(reasonOf(decode)).not.toContain(hash);
        continue;
      }
      const decoded = decode();
      expect(decoded.version).toBe(golden.version);
      if ('image' in decoded) {
        expect(decoded.image).toBe(golden.key);
      } else {
        expect(decoded.record.toPlain()).toEqual({
          imageRef: golden.key,
          lastUpdatedTime: new Date(timeOf(golden)),
          credentialMapping: golden.mapping,
        });
      }
    }
  });

  it.each(GOLDEN.filter(isWhole))('$file is the same when written again', (golden) => {
    const file = read(golden);
    // v1alpha1 is written by v1.33 and v1.34; these files were edited by hand, so they lack a null.
    const level = golden.version === 'v1beta1' ? 'v1.36' : 'v1.34';
    const behaviour = KUBELET_BEHAVIOUR[level];
    const again = isIntent(golden)
      ? encodeIntent(decodeIntent(file, behaviour).image, behaviour)
      : encodePulled(decodePulled(file, behaviour).record, behaviour);
    const line = `${file.toString().trimEnd()}\n`;
    const isNullShown = golden.version === 'v1alpha1';
    const nulled = line.replace(
      /(?<="docker\.io\/[\w/-]+":\{)(?!"kubernetesSecrets")/,
      isNullShown ? '"kubernetesSecrets":null,' : '',
    );
    expect(again.toString()).toBe(nulled);
    if (golden.version === 'v1beta1' || golden.file.endsWith('null-secrets')) {
      expect(nulled).toBe(line);
    }
  });

  it.each(GOLDEN.filter(isWhole))(
    '$file is brought to v1beta1 with nothing else changed',
    (golden) => {
      const file = read(golden);
      const v1_35 = KUBELET_BEHAVIOUR['v1.35'];
      const again = isIntent(golden)
        ? encodeIntent(decodeIntent(file, v1_35).image, v1_35)
        : encodePulled(decodePulled(file, v1_35).record, v1_35);
      const line = `${file.toString().trimEnd()}\n`;
      expect(again.toString()).toBe(
        line.replace('/v1alpha1"', '/v1beta1"').replace('"kubernetesSecrets":null,', ''),
      );
    },
  );

  it.each([
    [
      'pulled/e766e462',
      'v1.35',
      'a comma or a closing bracket is expected',
      ':"credentialMapping"',
    ],
    [
      'alternates/b3c0cc42.draft-field-name',
      'v1.35',
      'credentials: unknown field "kubernetesSecretCoordinates"',
      '"kubernetesSecretCoordinates"',
    ],
    [
      'pulled/917e8b34',
      'v1.33',
      'credentials: unknown field "kubernetesServiceAccounts"',
      '"kubernetesServiceAccounts"',
    ],
    [
      'pulled/a2eace21',
      'v1.34',
      'apiVersion is v1beta1, but only v1alpha1 is read',
      '"kubelet.config.k8s.io/v1beta1"',
    ],
    [
      'observed-preloaded/0eeec2fe',
      'v1.35',
      'kind is not ImagePulledRecord',
      '"ImagePreloadedRecord"',
    ],
  ] as const)('%s is refused by %s: %s, where it says %s', (file, level, reason, token) => {
    const bytes = read(GOLDEN.find((entry) => entry.file === file)!);
    expect(reasonOf(() => decodePulled(bytes, KUBELET_BEHAVIOUR[level]))).toBe(
      `${reason} (byte ${bytes.indexOf(token)})`,
    );
  });
});
