import { describe, expect, it } from 'vitest';
import { KUBELET_BEHAVIOUR } from '../../../src/compatibility.ts';
import { Random } from '../../../src/util/random.ts';
import { PullModel } from '../../support/pull-model.ts';
import { checkHistory, type Verdict } from './checker.ts';
import type { Answer, Call, Entry, History } from './history.ts';
import type { Rules } from './model-state.ts';
import { OFFERS, PROOFS } from './universe.ts';

const NOW_MS = 1_000_000;
const RULES: Rules = {
  policy: { kind: 'NeverVerifyPreloadedImages' },
  behaviour: KUBELET_BEHAVIOUR['v1.35'],
};
const IMAGE = 'registry.example.com/app:1';
const OTHER = 'registry.example.com/other:1';
const REF = 'sha256:0';
const NAME = 'registry.example.com/app';
const DONE: Answer = { kind: 'done' };
const LOST: Answer = { kind: 'failed', code: 'ERR_PULLMANAGER_WORKER_LOST' };
const INTENT: Call = { op: 'intent', image: IMAGE };
const FAILED: Call = { op: 'failed', image: IMAGE };
const PULLED: Extract<Call, { op: 'pulled' }> = {
  op: 'pulled',
  image: IMAGE,
  imageRef: REF,
  credentials: PROOFS[0]!,
};
const LIST: Call = { op: 'listIntents' };

function decide(offer = 0, image = IMAGE, how: 'decide' | 'mustAttempt' | 'sync' = 'decide'): Call {
  return { op: 'decide', how, image, imageRef: REF, credentials: OFFERS[offer]! };
}

function answered(
  reason: Extract<Answer, { kind: 'decision' }>['reason'],
  mustPull: boolean,
): Answer {
  return { kind: 'decision', mustPull, reason };
}

const FOUND = answered('credentialRecordFound', false);
const ALLOWED = answered('credentialPolicyAllowed', false);
const MUST = answered('mustAuthenticate', true);
const ERROR = answered('error', true);
const listed = (...images: string[]): Answer => ({ kind: 'intents', images, errorCount: 0 });

type Row = readonly [start: number, end: number, call: Call, answer: Answer];

function check(rows: readonly Row[], more: Partial<History> = {}): Verdict['kind'] {
  const entries = rows.map(
    ([start, end, call, answer]): Entry => ({ caller: 'c', start, end, call, answer }),
  );
  const nothing = { troubles: [], startedAtMs: NOW_MS, clock: [], holds: [] };
  return checkHistory({ entries, ...nothing, ...more }, RULES).kind;
}

function record(uids: readonly string[], updatedAtMs = NOW_MS): Answer {
  const kubernetesSecrets = uids.map((uid) => {
    const tenant = uid.slice(1);
    return { uid, namespace: `n${tenant}`, name: 'pull', credentialHash: `x${tenant}` };
  });
  const credentialMapping = { [NAME]: { kubernetesSecrets } };
  const lastUpdatedTime = new Date(updatedAtMs);
  return { kind: 'record', record: { imageRef: REF, lastUpdatedTime, credentialMapping } };
}

describe('histories that can be', () => {
  const cases: [string, readonly Row[], Partial<History>?][] = [
    [
      'a pull, then a decision',
      [
        [1, 2, INTENT, DONE],
        [3, 4, PULLED, DONE],
        [5, 6, decide(), FOUND],
      ],
    ],
    [
      'a decision beside the pull that sees it',
      [
        [1, 6, PULLED, DONE],
        [2, 3, decide(), FOUND],
      ],
    ],
    [
      'a decision beside the pull that does not',
      [
        [1, 6, PULLED, DONE],
        [2, 3, decide(), ALLOWED],
      ],
    ],
    [
      'record first, intent second, each seen by somebody',
      [
        [1, 2, INTENT, DONE],
        [3, 20, PULLED, DONE],
        [4, 5, decide(), FOUND],
        [6, 7, LIST, listed(IMAGE)],
        [8, 9, LIST, listed()],
      ],
    ],
    [
      'a match that is recorded and opens for another',
      [
        [1, 2, PULLED, DONE],
        [3, 4, decide(3), FOUND],
        [5, 6, { op: 'get', imageRef: REF }, record3()],
      ],
    ],
    [
      'a lost intent that was stored and not counted',
      [
        [1, 4, INTENT, LOST],
        [5, 6, LIST, listed(IMAGE)],
        [7, 8, INTENT, DONE],
        [9, 10, FAILED, DONE],
        [11, 12, LIST, listed()],
      ],
      { troubles: [{ from: 2, to: 3 }] },
    ],
    [
      'all pulls ended in the store by calls that failed together, and not counted',
      [
        [1, 2, INTENT, DONE],
        [3, 4, INTENT, DONE],
        [5, 8, FAILED, LOST],
        [6, 9, FAILED, LOST],
        [12, 13, LIST, listed()],
        [14, 15, decide(), MUST],
      ],
      { troubles: [{ from: 7, to: 10 }] },
    ],
    [
      'a tenant that proved nothing, and has to',
      [
        [1, 2, PULLED, DONE],
        [3, 4, decide(1), MUST],
      ],
    ],
    [
      'errors in a time of trouble',
      [
        [1, 6, INTENT, LOST],
        [2, 5, decide(), ERROR],
        [7, 8, LIST, listed()],
      ],
      { troubles: [{ from: 3, to: 4 }] },
    ],
    [
      'either time where the clock is set meanwhile',
      [
        [1, 4, PULLED, DONE],
        [5, 6, { op: 'get', imageRef: REF }, record(['u0'], 5_000)],
      ],
      { clock: [{ from: 2, to: 3, ms: 5_000 }] },
    ],
  ];

  it.each(cases)('%s', (_, rows, more) => {
    expect(check(rows, more)).toBe('fine');
  });
});

/** What recording the match of offer 3 leaves. */
function record3(): Answer {
  const answer = record(['u0', 'u3']) as Extract<Answer, { kind: 'record' }>;
  answer.record!.credentialMapping[NAME]!.kubernetesSecrets![1]!.credentialHash = 'x0';
  return answer;
}

describe('histories that cannot be', () => {
  const cases: [string, readonly Row[], Partial<History>?][] = [
    [
      'a decision after the pull that does not see it',
      [
        [1, 2, PULLED, DONE],
        [3, 4, decide(), ALLOWED],
      ],
    ],
    [
      'a decision that goes back behind an earlier one',
      [
        [1, 9, PULLED, DONE],
        [2, 3, decide(), FOUND],
        [4, 5, decide(), ALLOWED],
      ],
    ],
    [
      'a tenant that never proved anything',
      [
        [1, 2, PULLED, DONE],
        [3, 4, decide(1), FOUND],
      ],
    ],
    [
      'an open image during a pull',
      [
        [1, 2, INTENT, DONE],
        [3, 4, decide(), ALLOWED],
      ],
    ],
    [
      'the intent gone before the record is there',
      [
        [1, 2, INTENT, DONE],
        [3, 20, PULLED, DONE],
        [4, 5, LIST, listed()],
        [6, 7, decide(), ALLOWED],
      ],
    ],
    [
      'one end of two pulls that ends both',
      [
        [1, 2, INTENT, DONE],
        [3, 4, INTENT, DONE],
        [5, 6, FAILED, DONE],
        [7, 8, LIST, listed()],
      ],
    ],
    [
      'an intent that never goes',
      [
        [1, 2, INTENT, DONE],
        [3, 4, FAILED, DONE],
        [5, 6, LIST, listed(IMAGE)],
      ],
    ],
    ['an intent of nobody', [[1, 2, LIST, listed(OTHER)]]],
    [
      'an acknowledged record lost',
      [
        [1, 2, PULLED, DONE],
        [3, 4, { op: 'get', imageRef: REF }, { kind: 'record', record: undefined }],
      ],
    ],
    [
      'a proof dropped',
      [
        [1, 2, PULLED, DONE],
        [3, 4, { ...PULLED, credentials: PROOFS[1]! }, DONE],
        [5, 6, { op: 'get', imageRef: REF }, record(['u1'])],
      ],
    ],
    [
      'a time that no clock showed',
      [
        [1, 2, PULLED, DONE],
        [3, 4, { op: 'get', imageRef: REF }, record(['u0'], NOW_MS + 1)],
      ],
    ],
    [
      'pruned although as young as the cut-off',
      [
        [1, 2, PULLED, DONE],
        [
          3,
          4,
          { op: 'prune', listed: [], untilMs: NOW_MS },
          { kind: 'pruned', count: 1, errorCount: 0 },
        ],
        [5, 6, decide(), ALLOWED],
      ],
    ],
    [
      'kept although older than the cut-off',
      [
        [1, 2, PULLED, DONE],
        [
          3,
          4,
          { op: 'prune', listed: [], untilMs: NOW_MS + 1 },
          { kind: 'pruned', count: 0, errorCount: 0 },
        ],
        [5, 6, decide(), FOUND],
      ],
    ],
    ['an error where nothing was in trouble', [[1, 2, decide(), ERROR]]],
    ['a failed write where nothing was in trouble', [[1, 2, INTENT, LOST]]],
    [
      'one of two pulls that ends both, and fails',
      [
        [1, 2, INTENT, DONE],
        [3, 4, INTENT, DONE],
        [5, 8, FAILED, LOST],
        [12, 13, LIST, listed()],
      ],
      { troubles: [{ from: 7, to: 10 }] },
    ],
    [
      'a lost write that takes effect after its end',
      [
        [1, 4, PULLED, LOST],
        [7, 8, decide(), ALLOWED],
        [9, 10, decide(), FOUND],
      ],
      { troubles: [{ from: 2, to: 6 }] },
    ],
    [
      'an image let in in a time of trouble',
      [
        [1, 4, INTENT, DONE],
        [5, 8, decide(), ALLOWED],
      ],
      { troubles: [{ from: 6, to: 7 }] },
    ],
    [
      'a match that was let in and not recorded',
      [
        [1, 2, PULLED, DONE],
        [3, 4, decide(3), FOUND],
        [5, 6, { op: 'get', imageRef: REF }, record(['u0'])],
      ],
    ],
    [
      'a match decided without a trip',
      [
        [1, 2, PULLED, DONE],
        [3, 4, decide(3, IMAGE, 'sync'), FOUND],
      ],
    ],
    [
      'written while all stripes were held',
      [[2, 3, INTENT, DONE]],
      { holds: [{ from: 1, to: 4 }] },
    ],
    [
      'a restart that forgets an intent',
      [
        [1, 2, INTENT, DONE],
        [3, 4, { op: 'restart', images: [] }, DONE],
        [5, 6, LIST, listed()],
      ],
    ],
    [
      'a restart that adopts nothing',
      [
        [1, 2, INTENT, DONE],
        [3, 4, { op: 'restart', images: [{ id: REF, repoTags: [IMAGE], repoDigests: [] }] }, DONE],
        [5, 6, { op: 'get', imageRef: REF }, { kind: 'record', record: undefined }],
      ],
    ],
    ['a name that is none, recorded', [[1, 2, { ...PULLED, image: 'No Name' }, DONE]]],
    [
      'a good name refused',
      [[1, 2, PULLED, { kind: 'failed', code: 'ERR_PULLMANAGER_IMAGE_NAME_INVALID' }]],
    ],
  ];

  it.each(cases)('%s', (_, rows, more) => {
    expect(check(rows, more)).toBe('violated');
  });
});

describe('random sequential histories of the model itself', () => {
  const images = [IMAGE, 'registry.example.com/app:2', OTHER];
  const refs = [REF, 'sha256:1'];

  /** What the model does and answers, calls one after the other. */
  function histories(count: number): Entry[][] {
    return Array.from({ length: count }, (_, stream) => {
      const random = new Random(20, stream);
      const model = new PullModel({ ...RULES, now: () => NOW_MS });
      return Array.from({ length: 25 }, (__, index) => {
        const call = randomCall(random);
        return {
          caller: 'c',
          call,
          start: 2 * index,
          end: 2 * index + 1,
          answer: answerOf(model, call),
        };
      });
    });
  }

  function randomCall(random: Random): Call {
    const image = images[random.below(images.length)]!;
    const imageRef = refs[random.below(refs.length)]!;
    const credentials = PROOFS[random.below(PROOFS.length)]!;
    const offered = OFFERS[random.below(OFFERS.length)]!;
    const calls: Call[] = [
      { op: 'intent', image },
      { op: 'failed', image },
      { op: 'pulled', image, imageRef, credentials },
      { op: 'pulled', image, imageRef, credentials },
      { op: 'decide', how: 'decide', image, imageRef, credentials: offered },
      { op: 'decide', how: 'decide', image, imageRef, credentials: offered },
      { op: 'get', imageRef },
      { op: 'listIntents' },
      { op: 'prune', listed: [], untilMs: NOW_MS + random.below(2) },
    ];
    return calls[random.below(calls.length)]!;
  }

  function answerOf(model: PullModel, call: Call): Answer {
    if (call.op === 'prune') {
      const { untilMs } = call;
      const answer = model.apply({ op: 'prune', imageRefs: call.listed, untilMs });
      return { kind: 'pruned', count: 'pruned' in answer ? answer.pruned : 0, errorCount: 0 };
    }
    if (call.op === 'restart' || call.op === 'listRecords') return DONE;
    const answer = model.apply(call);
    if (answer.kind === 'intents') return listed(...answer.images);
    return answer as Answer;
  }

  function verdictOf(entries: readonly Entry[]): Verdict['kind'] {
    const nothing = { troubles: [], startedAtMs: NOW_MS, clock: [], holds: [] };
    return checkHistory({ entries, ...nothing }, RULES).kind;
  }

  it('are explained', () => {
    for (const entries of histories(150)) expect(verdictOf(entries)).toBe('fine');
  });

  it('are not, with one decision turned round', () => {
    let tried = 0;
    for (const entries of histories(150)) {
      const at = entries.findIndex(({ call }) => call.op === 'decide');
      const answer = entries[at]?.answer;
      if (answer?.kind !== 'decision') continue;
      tried++;
      const turned = { ...answer, mustPull: !answer.mustPull };
      expect(verdictOf(entries.with(at, { ...entries[at]!, answer: turned }))).toBe('violated');
    }
    expect(tried).toBeGreaterThan(100);
  });
});
