/** Record files of a kubelet. */
import { isUtf8 } from 'node:buffer';
import {
  decodeIntent,
  decodePulled,
  encodeIntent,
  encodePulled,
  RecordFormatError,
} from '../../../../src/accessors/kubelet/record-format.ts';
import { COMPATIBILITY_LEVELS, KUBELET_BEHAVIOUR } from '../../../../src/compatibility.ts';
import { PullManagerError } from '../../../../src/errors.ts';
import { happens, oddText, pick } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { jsonText, listOf, mapOf, objectOf, oneOf, type Rule, textRule } from './json-grammar.ts';
import { nested, numbered, repeated } from './shapes.ts';

const GROUP = 'kubelet.config.k8s.io/';
const VERSION = oneOf(`${GROUP}v1alpha1`, `${GROUP}v1beta1`, `${GROUP}v1beta1`, `${GROUP}v1`);
const TIMES = [
  '2025-10-10T00:00:00Z',
  '0001-01-01T00:00:00Z',
  '9999-12-31T23:59:59Z',
  '2024-02-29T1:02:03,999999999+24:60',
  '2023-02-29T00:00:00Z',
  '0000-01-01T00:00:00-24:00',
];
const ACCOUNT = { uid: textRule, namespace: textRule, name: textRule };
const CREDENTIALS = objectOf(
  {
    nodePodsAccessible: (random) => pick(random, ['true', 'false', 'null', '1']),
    kubernetesSecrets: listOf(objectOf({ ...ACCOUNT, credentialHash: textRule })),
    kubernetesServiceAccounts: listOf(objectOf(ACCOUNT)),
  },
  0.4,
);
const INTENT = objectOf(
  { kind: oneOf('ImagePullIntent'), apiVersion: VERSION, image: textRule },
  0.02,
);
const PULLED = objectOf(
  {
    kind: oneOf('ImagePulledRecord'),
    apiVersion: VERSION,
    lastUpdatedTime: (random) => jsonText(pick(random, TIMES)),
    imageRef: textRule,
    credentialMapping: mapOf(CREDENTIALS),
  },
  0.02,
);
const HEAD = '{"kind":"ImagePulledRecord","apiVersion":"kubelet.config.k8s.io/v1beta1",';
const SECRETS = `${HEAD}"credentialMapping":{"a":{"kubernetesSecrets":[`;
const WORDS = [
  ...TIMES,
  '"credentialMapping":{',
  '"kubernetesSecrets":[{}]',
  'null',
  '\\u0000',
  '\\ud800',
  '\\"',
  '\\x',
  '\xff',
  ',',
  '{}',
  '"',
  '\t',
  'ImagePullIntent',
];

export const kubeletRecords: FuzzTarget = {
  name: 'kubelet-records',
  unit: 'record files',
  modules: [
    'src/accessors/kubelet/strict-json',
    'src/accessors/kubelet/record-',
    'src/accessors/kubelet/go-time',
  ],
  words: WORDS,
  make(random) {
    const rule: Rule = happens(random, 0.3) ? INTENT : PULLED;
    const space = happens(random, 0.1) ? pick(random, [' ', '\n', '\t', oddText(random)]) : '';
    return Buffer.from(space + rule(random) + space);
  },
  feed,
  worstCases: [
    repeated('spaces', ' ', HEAD, '"imageRef":""}'),
    repeated('a long text', 'a', `${HEAD}"imageRef":"`, '"}'),
    repeated('escapes', '\\u0000', `${HEAD}"imageRef":"`, '"}'),
    repeated('bytes that are not UTF-8', '\u0000', `${HEAD}"imageRef":"\\`, '"}'),
    repeated('a backslash without end', '\\\\', `${HEAD}"imageRef":"`),
    repeated('digits of a second', '1', `${HEAD}"lastUpdatedTime":"2025-10-10T00:00:00.`, 'Z"}'),
    repeated('empty secrets', '{},', SECRETS, '{}]}}}'),
    numbered('names', (i) => `"${i}":{}`, `${HEAD}"credentialMapping":{`, '}}'),
    numbered('names in reverse', (i) => `"${1e7 - i}":{}`, `${HEAD}"credentialMapping":{`, '}}'),
    numbered(
      'names with one beginning',
      (i) => `"${'a'.repeat(99)}${i}":{}`,
      `${HEAD}"credentialMapping":{`,
      '}}',
    ),
    repeated('a field again and again', '"imageRef":null,', '{', '"kind":null}'),
    repeated('an unknown field', 'x', '{"', '":1}'),
    nested('brackets', '[', ']', `${HEAD}"credentialMapping":`, '}'),
    nested('braces', '{"a":', '}', `${HEAD}"credentialMapping":`, '}'),
  ],
};

function feed(input: Buffer): Verdict {
  let verdict: Verdict = 'refused';
  for (const level of COMPATIBILITY_LEVELS) {
    const behaviour = KUBELET_BEHAVIOUR[level];
    const intent = attempt(() => decodeIntent(input, behaviour), isRefusal);
    if ('value' in intent) {
      verdict = 'accepted';
      const { image } = intent.value;
      checkAgainstPlain(input, 'image', image);
      const again = decodeIntent(encodeIntent(image, behaviour), behaviour);
      mustHold(again.image === image, 'an intent is another when it is written and read');
    }
    const pulled = attempt(() => decodePulled(input, behaviour), isRefusal);
    if ('value' in pulled) {
      verdict = 'accepted';
      mustHold(!('value' in intent), 'both an intent and a record');
      checkAgainstPlain(input, 'imageRef', pulled.value.record.imageRef);
      checkWriting(pulled.value.record, level);
    }
  }
  return verdict;
}

/** What is stricter than JSON is JSON, and says the same. */
function checkAgainstPlain(input: Buffer, field: string, value: string): void {
  if (!isUtf8(input)) return;
  const plain = JSON.parse(input.toString().replace(/^\ufeff/, '\ufffe')) as Record<
    string,
    unknown
  >;
  const given = (plain[field] ?? '') as string & { toWellFormed(): string };
  mustHold(given.toWellFormed() === value, `${field} is not what JSON has`);
}

function checkWriting(
  record: Parameters<typeof encodePulled>[0],
  level: (typeof COMPATIBILITY_LEVELS)[number],
): void {
  const behaviour = KUBELET_BEHAVIOUR[level];
  const written = attempt(() => encodePulled(record, behaviour), isOfTheRecord);
  if ('refusal' in written) return;
  const again = decodePulled(written.value, behaviour).record;
  const twice = encodePulled(again, behaviour);
  mustHold(twice.equals(written.value), 'a record is another when it is written and read');
  mustHold(again.proofs.length === record.proofs.length, 'names are lost when a record is written');
}

function isRefusal(error: unknown): boolean {
  return error instanceof RecordFormatError;
}

function isOfTheRecord(error: unknown): boolean {
  return error instanceof PullManagerError && error.code === 'ERR_PULLMANAGER_INVALID_ARGUMENT';
}
