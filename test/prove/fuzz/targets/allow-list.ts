/** Patterns of the allow list, and the images that are held against them: `patterns\n…\n\nimage`. */
import { COMPATIBILITY_LEVELS } from '../../../../src/compatibility.ts';
import { PullManagerError } from '../../../../src/errors.ts';
import {
  type AllowlistEntry,
  validateAllowlistImagesPatterns,
} from '../../../../src/policies/allowlist.ts';
import { createImagePullCredentialVerificationPolicy } from '../../../../src/policies/enforcer.ts';
import { GLOB_TEXT_LENGTH_MAX } from '../../../../src/policies/glob.ts';
import type { Random } from '../../../../src/util/random.ts';
import { happens, oddText, pick, several } from '../choice.ts';
import { attempt, type FuzzTarget, mustHold, type Verdict } from '../target.ts';
import { numbered, repeated } from './shapes.ts';

const GLOB_MARK = 'glob ';
const WORDS = [
  GLOB_MARK,
  '/*',
  '**',
  '*',
  '?',
  '{a,b}',
  '{',
  '}',
  ',',
  '!',
  '@(',
  '[a-z]',
  '\n',
  '\n\n',
  'registry.example.com/',
  ':1',
];
/** An image whose pieces are what wildcards try again and again. */
const IMAGE = `registry.example.com/${'a'.repeat(200)}/b/b/b/b/c:1`;
const MESSAGE_LENGTH_MAX = 2_000;

export const allowList: FuzzTarget = {
  name: 'allow-list',
  unit: 'lists with an image',
  modules: ['src/policies/'],
  words: WORDS,
  make(random) {
    const patterns = several(random, 4, () => patternOf(random));
    return Buffer.from(
      `${patterns.join('\n')}\n\n${happens(random, 0.5) ? nameOf(random) : IMAGE}`,
    );
  },
  feed,
  worstCases: [
    numbered('many prefixes', (i) => `r.example.com/${i}/*`, '', `\n\n${IMAGE}`, '\n'),
    numbered('many names', (i) => `r.example.com/${i}`, '', `\n\n${IMAGE}`, '\n'),
    numbered(
      'prefixes of each other',
      (i) => `r.example.com/${'a/'.repeat(i % 99)}*`,
      '',
      `\n\n${IMAGE}`,
      '\n',
    ),
    numbered('many globs', (i) => `glob r.example.com/{a,b}*${i}`, '', `\n\n${IMAGE}`, '\n'),
    repeated('a long pattern', 'a/', 'r.example.com/', '*'),
    repeated('a long glob', '*a', 'glob r.example.com/'),
    repeated('a long image', 'a/', 'glob r.example.com/**\n\nr.example.com/', 'a'),
    repeated('a long name of an image', 'a', 'glob r.example.com/*a*b\n\nr.example.com/'),
    repeated('commas', ',', 'glob r.example.com/{', '}'),
  ],
};

function feed(input: Buffer): Verdict {
  const text = input.toString();
  const end = text.indexOf('\n\n');
  const lines = (end === -1 ? text : text.slice(0, end)).split('\n');
  const image = end === -1 ? IMAGE : text.slice(end + 2);
  const allowlist: AllowlistEntry[] = lines.map((line) =>
    line.startsWith(GLOB_MARK) ? { glob: line.slice(GLOB_MARK.length) } : line,
  );
  let verdict: Verdict = 'refused';
  for (const level of COMPATIBILITY_LEVELS) {
    const checked = attempt(() => validateAllowlistImagesPatterns(allowlist, level), isRefusal);
    if ('refusal' in checked) {
      const { pattern, message } = checked.refusal as PullManagerError;
      const named = allowlist.some(
        (entry) => (typeof entry === 'string' ? entry : entry.glob) === pattern,
      );
      mustHold(named, 'the error does not name the pattern');
      mustHold(message.length < MESSAGE_LENGTH_MAX, `the message has ${message.length} characters`);
      continue;
    }
    verdict = 'accepted';
    checkMatching(allowlist, level, image);
  }
  return verdict;
}

function checkMatching(
  allowlist: readonly AllowlistEntry[],
  level: (typeof COMPATIBILITY_LEVELS)[number],
  image: string,
): void {
  const policy = { kind: 'NeverVerifyAllowlistedImages', allowlist } as const;
  const enforcer = createImagePullCredentialVerificationPolicy(policy, level);
  const isExempt = !enforcer.requireCredentialVerificationForImage(image, true);
  if (!isExempt) return;
  // Whatever the list says, only what begins like one of its entries is let through.
  const isNear = allowlist.some((entry) => {
    const start =
      typeof entry === 'string' ? entry.replace(/\*$/, '') : /^[^*?{]*/.exec(entry.glob)![0];
    return (
      image.startsWith(start) ||
      `docker.io/${image}`.startsWith(start) ||
      `docker.io/library/${image}`.startsWith(start) ||
      image.startsWith('index.docker.io/')
    );
  });
  mustHold(isNear, 'an image is exempt that begins like no entry');
  const hasGlobsOnly = allowlist.every((entry) => typeof entry !== 'string');
  mustHold(
    !hasGlobsOnly || image.length <= 2 * GLOB_TEXT_LENGTH_MAX,
    'a glob matches a text that is too long',
  );
}

function isRefusal(error: unknown): boolean {
  return (
    error instanceof PullManagerError &&
    (error.code === 'ERR_PULLMANAGER_ALLOWLIST_PATTERN_INVALID' ||
      error.code === 'ERR_PULLMANAGER_INVALID_ARGUMENT')
  );
}

function nameOf(random: Random): string {
  const host = pick(random, [
    'registry.example.com',
    'r.io:5000',
    'docker.io',
    'localhost',
    'team',
  ]);
  const path = several(random, 4, () => pick(random, ['a', 'b', 'team-a', 'app-1', 'base'])).join(
    '/',
  );
  return `${host}/${path || 'a'}${pick(random, ['', ':1', '@sha256:ab'])}`;
}

function patternOf(random: Random): string {
  const kind = random.below(5);
  if (kind === 0) return oddText(random);
  if (kind === 1) return nameOf(random);
  if (kind === 2) return `${nameOf(random)}/*`;
  const pieces = several(random, 5, () =>
    several(random, 4, () => pick(random, ['*', '?', 'a', 'app-', '{a,b}', '{x,y,z}', '**'])).join(
      '',
    ),
  );
  return `${GLOB_MARK}registry.example.com/${pieces.join('/')}`;
}
