/** Image names, as pods have them. */
import { PullManagerError } from '../../../../src/errors.ts';
import {
  normalizedImageName,
  parseImageName,
  trimImageTagDigest,
} from '../../../../src/images/image-name.ts';
import type { Random } from '../../../../src/util/random.ts';
import { happens, oddText, pick, several } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { referenceName } from './reference-names.ts';
import { repeated } from './shapes.ts';

/** The second opinion is one of expressions that backtrack. */
const REFERENCE_LENGTH_MAX = 2_048;
const HEX = '0123456789abcdef';

const WORDS = [
  'docker.io',
  'index.docker.io',
  'localhost',
  'library/',
  '/',
  ':',
  '@',
  '@sha256:',
  '__',
  '..',
  '-',
  '.',
  '[::1]',
  ':5000',
  'A',
  'sha512:',
  '\u0130',
  HEX.repeat(4),
  HEX.repeat(2),
];

export const imageNames: FuzzTarget = {
  name: 'image-names',
  unit: 'image names',
  modules: ['src/images/image-name'],
  words: WORDS,
  make(random) {
    const host = happens(random, 0.5) ? `${hostOf(random)}/` : '';
    const path = several(random, 4, () => componentOf(random)).join('/') || componentOf(random);
    const tag = happens(random, 0.5)
      ? `:${happens(random, 0.8) ? componentOf(random) : oddText(random)}`
      : '';
    return Buffer.from(host + path + tag + digestOf(random));
  },
  feed,
  worstCases: [
    repeated('letters', 'a'),
    repeated('slashes', 'a/'),
    repeated('separators', 'a--b__c.'),
    repeated('dashes', '-'),
    repeated('colons', 'a:'),
    repeated('labels of a host', 'a.', '', '/A'),
    repeated('capitals', 'A'),
    repeated('digits of a digest', 'f', 'a@sha256:'),
    repeated('parts of an algorithm', 'a+', 'a@'),
    repeated('capitals of many bytes', '\u0130'),
    repeated('an address in brackets', ':', '[', ']/a'),
  ],
};

function feed(input: Buffer): Verdict {
  const text = input.toString();
  const parsed = attempt(() => parseImageName(text), isRefusal);
  const expected = text.length <= REFERENCE_LENGTH_MAX ? referenceName(text) : undefined;
  if ('refusal' in parsed) {
    mustHold(expected === undefined, `refuses what the reference parses as ${expected?.name}`);
    const { message, image } = parsed.refusal as PullManagerError;
    mustHold(image === text, 'the error does not have the image');
    mustHold(message.length < 1_500, `the message has ${message.length} characters`);
    for (const other of [normalizedImageName, trimImageTagDigest]) {
      mustHold('refusal' in attempt(() => other(text), isRefusal), `${other.name} accepts it`);
    }
    return 'refused';
  }
  const { name, tag, digest } = parsed.value;
  if (text.length <= REFERENCE_LENGTH_MAX) {
    const wantedTag = expected?.tag === '' && expected.digest === '' ? 'latest' : expected?.tag;
    mustHold(
      expected?.name === name && wantedTag === tag && expected.digest === digest,
      `parsed as ${name} ${tag} ${digest}: the reference says otherwise`,
    );
  }
  mustHold(normalizedImageName(text) === name, 'the normalised name is another');
  const whole = name + (tag === '' ? '' : `:${tag}`) + (digest === '' ? '' : `@${digest}`);
  const again = parseImageName(whole);
  mustHold(
    again.name === name && again.tag === tag && again.digest === digest,
    `not the same when it is parsed again: ${whole}`,
  );
  mustHold(text.startsWith(trimImageTagDigest(text)), 'what is trimmed is no beginning of it');
  return 'accepted';
}

function isRefusal(error: unknown): boolean {
  return error instanceof PullManagerError && error.code === 'ERR_PULLMANAGER_IMAGE_NAME_INVALID';
}

function hostOf(random: Random): string {
  const host = pick(random, [
    'docker.io',
    'index.docker.io',
    'localhost',
    '[::1]',
    'r.example.com',
    'A',
  ]);
  const own = happens(random, 0.6) ? host : several(random, 4, () => oddText(random, 4)).join('.');
  return happens(random, 0.3) ? `${own}:${random.below(70_000)}` : own;
}

function componentOf(random: Random): string {
  const parts = several(random, 5, () =>
    String.fromCharCode(0x61 + random.below(26)).repeat(1 + random.below(9)),
  );
  const text = parts.join(pick(random, ['.', '_', '__', '-', '---', '']));
  return text || 'a';
}

function digestOf(random: Random): string {
  if (happens(random, 0.6)) return '';
  const [algorithm, length] = pick(random, [
    ['sha256', 64],
    ['sha512', 128],
    ['sha384', 96],
    ['sha256', 63],
    ['md5', 32],
    ['SHA256', 64],
    ['a+b', 40],
  ] as const);
  const hex = Array.from({ length }, () => HEX[random.below(16)]).join('');
  return `@${algorithm}:${happens(random, 0.1) ? hex.toUpperCase() : hex}`;
}
