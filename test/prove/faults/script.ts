/**
 * What the engine is asked to do while its storage fails: each operation it has, and enough of them
 * that logs change files, snapshots are taken, files are written behind, and lives end and begin.
 */
import type { ImagePullCredentials, ImagePullSecret, PodCredentials } from '../../../src/index.ts';
import { groupOf, type Question } from './oracle.ts';

/** An operation, or several at once. */
export type Step =
  | { readonly do: 'intent' | 'failed'; readonly image: string }
  | {
      readonly do: 'pulled';
      readonly image: string;
      readonly imageRef: string;
      readonly credentials: ImagePullCredentials | null;
    }
  | {
      readonly do: 'decide';
      readonly image: string;
      readonly imageRef: string;
      readonly credentials: PodCredentials;
    }
  | { readonly do: 'get'; readonly imageRef: string }
  | { readonly do: 'list' }
  /** Records of images that are not among these go. */
  | { readonly do: 'prune'; readonly imageRefs: readonly string[] }
  | { readonly do: 'together'; readonly steps: readonly Step[] }
  /** Close and open, perhaps with another number of workers. */
  | { readonly do: 'reopen'; readonly workers: 'same' | 'other' };

function secret(name: string, hash = name): ImagePullSecret {
  // Long, so that little fills a file.
  const namespace = `team-${name}-${'x'.repeat(60)}`;
  return { uid: `uid-${name}-${'y'.repeat(60)}`, namespace, name, credentialHash: hash };
}

const A = secret('a');
const B = secret('b');
const C = secret('c');
/** The credentials of `a` under another name. */
const A_COPIED = secret('copied', 'a');
const ACCOUNT = { uid: 'uid-1', namespace: 'team-s', name: 'builder' };

const image = (group: string, name = 'app:1'): string => `registry.test/${group}/${name}`;
const ref = (group: string, number = 1): string => `sha256:0/${group}/${number}`;

const CROWD = 12;
const crowd = Array.from({ length: CROWD }, (_, i) =>
  image(`crowd${i}`, `${'long/'.repeat(40)}app:1`),
);

const intent = (group: string, name?: string): Step => ({
  do: 'intent',
  image: image(group, name),
});
const failed = (group: string): Step => ({ do: 'failed', image: image(group) });
const pulled = (group: string, credentials: ImagePullCredentials | null, name?: string): Step => ({
  do: 'pulled',
  image: image(group, name),
  imageRef: ref(group),
  credentials,
});
const decide = (group: string, credentials: PodCredentials): Step => {
  return { do: 'decide', image: image(group), imageRef: ref(group), credentials };
};
const together = (...steps: Step[]): Step => ({ do: 'together', steps });
const get = (group: string): Step => ({ do: 'get', imageRef: ref(group) });
const LIST: Step = { do: 'list' };

export const SCRIPT: readonly Step[] = [
  intent('private'),
  pulled('private', { kubernetesSecrets: [A] }),
  decide('private', { secrets: [B] }),
  intent('private'),
  pulled('private', { kubernetesSecrets: [B] }),
  intent('public'),
  pulled('public', { nodePodsAccessible: true }),
  intent('broken'),
  failed('broken'),
  LIST,
  together(...crowd.map((one): Step => ({ do: 'intent', image: one }))),
  together(
    ...crowd.slice(0, 6).map((one, i): Step => {
      const imageRef = ref(`crowd${i}`);
      return { do: 'pulled', image: one, imageRef, credentials: { kubernetesSecrets: [A, C] } };
    }),
    ...crowd.slice(6).map((one): Step => ({ do: 'failed', image: one })),
  ),
  // Two pulls of one image, of which one is never ended.
  together(intent('unended'), intent('unended')),
  failed('unended'),
  intent('shared', 'one:1'),
  intent('shared', 'two:1'),
  together(
    pulled('shared', { kubernetesSecrets: [A] }, 'one:1'),
    pulled('shared', { kubernetesSecrets: [C] }, 'two:1'),
  ),
  get('shared'),
  // The match is written.
  decide('private', { secrets: [A_COPIED] }),
  get('private'),
  intent('account'),
  pulled('account', { kubernetesServiceAccounts: [ACCOUNT] }),
  { do: 'reopen', workers: 'other' },
  decide('unended', {}),
  intent('unended'),
  pulled('unended', { kubernetesSecrets: [C] }),
  intent('unknown'),
  pulled('unknown', null),
  { do: 'prune', imageRefs: ['private', 'public', 'shared', 'unended'].map((group) => ref(group)) },
  LIST,
  together(...crowd.slice(0, 8).map((one): Step => ({ do: 'intent', image: one }))),
  together(...crowd.slice(0, 8).map((one): Step => ({ do: 'failed', image: one }))),
  intent('account'),
  pulled('account', { kubernetesSecrets: [B], kubernetesServiceAccounts: [ACCOUNT] }),
  { do: 'reopen', workers: 'same' },
  intent('private'),
  pulled('private', { kubernetesSecrets: [C] }),
  intent('public'),
  pulled('public', { kubernetesSecrets: [A] }),
  LIST,
];

const TENANTS: readonly (PodCredentials | undefined)[] = [
  undefined,
  { secrets: [A] },
  { secrets: [B] },
  { secrets: [C] },
  { serviceAccount: ACCOUNT },
];

/** Who asks for what, after each step. */
export const PROBES: readonly Question[] = [
  ...['private', 'public', 'broken', 'unended', 'account', 'unknown'].map((group) => ({
    image: image(group),
    imageRef: ref(group),
  })),
  ...['one:1', 'two:1'].map((name) => ({ image: image('shared', name), imageRef: ref('shared') })),
  ...[0, 7].map((i) => ({ image: crowd[i]!, imageRef: ref(`crowd${i}`) })),
].flatMap((asked) => TENANTS.map((credentials) => ({ ...asked, credentials })));

/** What the steps of a life are called, in their order. */
export const STEP_NAMES: readonly string[] = [
  'open',
  ...SCRIPT.map(titleOf),
  'close',
  'the next life',
  'its end',
];

/** Of one step, for people. */
function titleOf(step: Step): string {
  switch (step.do) {
    case 'together':
      return `${step.steps.length} at once: ${titleOf(step.steps[0]!)} …`;
    case 'intent':
    case 'failed':
      return `${step.do} ${groupOf(step.image)}`;
    case 'pulled':
    case 'decide':
    case 'get':
      return `${step.do} ${groupOf(step.imageRef)}`;
    default:
      return step.do;
  }
}
