import { beforeEach, describe, expect, it } from 'vitest';
import type { VerificationPolicy } from '../../src/policies/enforcer.ts';
import { ANSWER, VERDICT } from '../../src/storm/answers.ts';
import { Ledger } from '../../src/storm/ledger.ts';
import { checkIntents, checkRecord, checkRecords } from '../../src/storm/listing-check.ts';
import { normalized } from '../../src/storm/model-credentials.ts';
import type { Credential } from '../../src/storm/tenants.ts';
import { IMAGE_KIND, Universe } from '../../src/storm/universe.ts';
import { Verifier } from '../../src/storm/verifier.ts';
import { describeWrong } from '../../src/storm/wrong-answer.ts';

const FREE = ANSWER.POLICY_ALLOWED;
const FOUND = ANSWER.RECORD_FOUND;
const MUST = ANSWER.MUST_AUTHENTICATE;
const { EXACT, EITHER, WRONG, UNVERIFIABLE } = VERDICT;

let nowMs = 0;
let universe: Universe;
let ledger: Ledger;
let verifier: Verifier;
let image: number;
let ref: number;
let own: Credential;
let other: Credential;

beforeEach(() => {
  start({ kind: 'NeverVerifyPreloadedImages' });
});

function start(policy: VerificationPolicy): void {
  nowMs = 1_000;
  universe = new Universe(
    Array.from({ length: 8 }, (_, i) => ({
      image: `registry.io/app-${i}:1`,
      name: `registry.io/app-${i}`,
    })),
    {
      seed: 5,
      tenants: 24,
      publicShare: 0,
      nodeCredentialShare: 0,
      preloadedShare: 0,
      sharedSecretShare: 0.5,
      serviceAccountShare: 0,
      rotatedShare: 1,
    },
  );
  ledger = new Ledger(universe, () => nowMs);
  verifier = new Verifier(ledger, policy, 64);
  image = universe.kindOfImage.indexOf(IMAGE_KIND.PRIVATE);
  ref = universe.refOfImage[image]!;
  // Two tenants with one plain secret each, and logins of their own.
  const plain = [...Array(24).keys()].filter((tenant) => {
    const { secrets, account } = universe.tenants.credential(tenant, 0);
    return secrets.length === 1 && account === -1 && !isShared(tenant);
  });
  own = universe.tenants.credential(plain[0]!, 0);
  other = universe.tenants.credential(plain[1]!, 0);
}

function isShared(tenant: number): boolean {
  for (let one = 0; one < 24; one++) universe.tenants.credential(one, 0);
  const { secrets } = universe.tenants.credential(tenant, 0);
  return universe.tenants.placesOfHash[secrets.at(-1)!.hash]!.length > 1;
}

/** Begins and ends a decision at once. */
function decide(answer: number, credential = own, slot = 0): number {
  verifier.begin(slot, image, credential);
  return verifier.end(slot, answer);
}

function intend(): void {
  ledger.beginIntent(image);
  ledger.endIntent(image, true);
}

function pull(credential: Credential | null = own): void {
  intend();
  ledger.endPull(ledger.beginPull(image, credential), true);
}

function allListedBut(missing: number): Uint8Array {
  return Uint8Array.from(universe.refs, (_, index) => Number(index !== missing));
}

describe('without overlap exactly one answer is right', () => {
  it.each<{ name: string; before: () => void; right: number; ask?: () => Credential }>([
    { name: 'a preloaded image', before: () => {}, right: FREE },
    { name: 'an acknowledged intent', before: intend, right: MUST },
    { name: 'an acknowledged pull', before: pull, right: FOUND },
    { name: "another tenant's pull", before: pull, right: MUST, ask: () => other },
    { name: 'a pull by unknown means', before: () => pull(null), right: MUST },
    {
      name: 'a failed pull',
      before: () => {
        intend();
        ledger.beginFailure(image);
        ledger.endFailure(image, true);
      },
      right: FREE,
    },
    {
      name: 'one failed pull of two',
      before: () => {
        intend();
        intend();
        ledger.beginFailure(image);
        ledger.endFailure(image, true);
      },
      right: MUST,
    },
    {
      name: 'a pruned record',
      before: () => {
        pull();
        nowMs += 10;
        ledger.endPrune(ledger.beginPrune(allListedBut(ref), nowMs));
      },
      right: FREE,
    },
    {
      name: 'a record that is as young as the cut-off',
      before: () => {
        pull();
        ledger.endPrune(ledger.beginPrune(allListedBut(ref), nowMs));
      },
      right: FOUND,
    },
    {
      name: 'a left-over intent',
      before: () => {
        intend();
        ledger.restart(() => false, nowMs);
      },
      right: MUST,
    },
    {
      name: 'a left-over intent of an image that the runtime lists',
      before: () => {
        intend();
        ledger.restart(() => true, nowMs);
        intend();
        ledger.beginFailure(image);
        ledger.endFailure(image, true);
      },
      right: MUST,
    },
    {
      name: 'a store that forgot',
      before: () => {
        pull();
        ledger.forget();
      },
      right: FREE,
    },
  ])('after $name', ({ before, right, ask }) => {
    before();
    for (const answer of [FREE, FOUND, MUST]) {
      // Each in a world of its own: a wrong answer must not disturb the next.
      expect(decide(answer, ask?.())).toBe(answer === right ? EXACT : WRONG);
    }
    expect(decide(ANSWER.ERROR, ask?.())).toBe(WRONG);
  });

  it('a rotated secret is let in once, and from then on known', () => {
    pull();
    const rotated = universe.tenants.credential(own.tenant, 1);
    expect(decide(FOUND, rotated)).toBe(EXACT);
    expect(decide(MUST, rotated)).toBe(WRONG);
    const [secret] = rotated.secrets;
    const place = ledger.records[ref]!.names[0]!.secrets.get(secret!.place)!;
    expect(place.writes).toBeUndefined();
    expect(place.value).toBe(secret!.hash);
  });

  it.each([
    { when: 'while a worker is away', isDisturbed: true },
    { when: 'else', isDisturbed: false },
  ])('a match that was let in may be unrecorded $when', ({ isDisturbed }) => {
    pull();
    const rotated = universe.tenants.credential(own.tenant, 1);
    verifier.begin(0, image, rotated);
    if (isDisturbed) verifier.disturbance++;
    expect(verifier.end(0, FOUND)).toBe(EXACT);
    const read = verifier.beginRead();
    const kept = {
      imageRef: universe.refs[ref]!,
      lastUpdatedTime: new Date(nowMs),
      credentialMapping: { [universe.names[universe.nameOfImage[image]!]!]: own.proof },
    };
    const problems = checkRecords(ledger, [kept], read);
    verifier.endRead(read);
    expect(problems).toHaveLength(isDisturbed ? 0 : 1);
  });

  it('the login of another tenant opens the image where both use the same', () => {
    const sharing = [...Array(24).keys()]
      .filter((tenant) => isShared(tenant))
      .map((tenant) => universe.tenants.credential(tenant, 0))
      .filter(({ secrets, account }) => secrets.length === 1 && account === -1);
    const first = sharing[0]!;
    const second = sharing.find(
      ({ tenant, secrets }) =>
        tenant !== first.tenant && secrets[0]!.hash === first.secrets[0]!.hash,
    )!;
    pull(first);
    expect(decide(MUST, second)).toBe(WRONG);
    expect(decide(FOUND, second)).toBe(EXACT);
    // It has a proof of its own now: the first one's new login does not shut it out.
    expect(decide(FOUND, universe.tenants.credential(first.tenant, 1))).toBe(EXACT);
    expect(decide(MUST, second)).toBe(WRONG);
    expect(decide(FOUND, second)).toBe(EXACT);
  });
});

describe('with overlap', () => {
  it('a pull under way may be seen or not, but never neither intent nor record', () => {
    intend();
    verifier.begin(0, image, own);
    verifier.begin(1, image, own);
    verifier.begin(2, image, own);
    const begun = ledger.beginPull(image, own);
    ledger.endPull(begun, true);
    expect(verifier.end(0, FREE)).toBe(WRONG);
    expect(verifier.end(1, MUST)).toBe(EITHER);
    expect(verifier.end(2, FOUND)).toBe(EITHER);
  });

  it('a whole pull may begin and end during one decision', () => {
    verifier.begin(0, image, own);
    verifier.begin(1, image, own);
    verifier.begin(2, image, own);
    pull();
    expect(verifier.end(0, FREE)).toBe(EITHER);
    expect(verifier.end(1, MUST)).toBe(EITHER);
    expect(verifier.end(2, FOUND)).toBe(EITHER);
  });

  it("another tenant's pull changes nothing for this one", () => {
    pull();
    verifier.begin(0, image, own);
    const begun = ledger.beginPull(image, other);
    expect(decide(FOUND, own, 1)).toBe(EXACT);
    ledger.endPull(begun, true);
    expect(verifier.end(0, FOUND)).toBe(EXACT);
  });

  it('an answer from before an acknowledged write is wrong', () => {
    pull(other);
    const begun = ledger.beginPull(image, own);
    expect(decide(MUST)).toBe(EITHER);
    ledger.endPull(begun, true);
    expect(decide(MUST)).toBe(WRONG);
  });

  it('nobody goes back behind what an earlier decision has seen', () => {
    pull(other);
    intend();
    ledger.beginPull(image, own);
    verifier.begin(2, image, own);
    expect(decide(MUST)).toBe(EITHER);
    expect(decide(FOUND)).toBe(EITHER);
    expect(decide(MUST)).toBe(WRONG);
    // It began before the other one ended.
    expect(verifier.end(2, MUST)).toBe(EITHER);
  });

  it('the older of two overlapping contents may win, until one is seen', () => {
    pull();
    const [one, two] = [1, 2].map((version) => universe.tenants.credential(own.tenant, version));
    const first = ledger.beginPull(image, one!);
    const second = ledger.beginPull(image, two!);
    ledger.endPull(first, true);
    ledger.endPull(second, true);
    const place = ledger.records[ref]!.names[0]!.secrets.get(one!.secrets[0]!.place)!;
    expect(place.isSettled).toBe(false);
    // Whatever was there: it matches by its place, and is replaced by what is presented.
    expect(decide(FOUND, two)).toBe(EXACT);
    expect(place.isSettled).toBe(true);
    expect(place.value).toBe(two!.secrets[0]!.hash);
  });

  it('a decision under way may learn from a write that began after it', () => {
    pull(other);
    const rotated = universe.tenants.credential(own.tenant, 1);
    verifier.begin(0, image, rotated);
    const begun = ledger.beginPull(image, own);
    ledger.endPull(begun, true);
    // It may have replaced the content already.
    const place = ledger.records[ref]!.names[0]!.secrets.get(own.secrets[0]!.place)!;
    expect(place.isSettled).toBe(false);
    expect(verifier.end(0, MUST)).toBe(EITHER);
    expect(place.value).toBe(own.secrets[0]!.hash);
    expect(place.isSettled).toBe(true);
  });

  it('a pruning may or may not meet a pull, until one of the two is seen', () => {
    pull();
    nowMs += 10;
    intend();
    const begun = ledger.beginPull(image, own);
    const prune = ledger.beginPrune(allListedBut(ref), nowMs);
    ledger.endPull(begun, true);
    expect(ledger.endPrune(prune)).toEqual({ sure: 0, possible: 1, unsure: [ref] });
    expect(decide(FREE)).toBe(EITHER);
    expect(decide(FOUND)).toBe(EITHER);
    // It was seen, and nothing happened since.
    expect(decide(FREE)).toBe(WRONG);
    expect(decide(MUST)).toBe(WRONG);
  });

  it('a failed operation leaves the image open until the next start', () => {
    intend();
    ledger.endPull(ledger.beginPull(image, own), false);
    expect(decide(FREE)).toBe(UNVERIFIABLE);
    ledger.restart(() => false, nowMs);
    expect(checkIntents(ledger, [universe.images[image]!])).toEqual([]);
    const read = verifier.beginRead();
    expect(checkRecord(ledger, ref, undefined, read)).toEqual([]);
    verifier.endRead(read);
    expect(decide(FREE)).toBe(WRONG);
    expect(decide(MUST)).toBe(EXACT);
  });

  it('a plain answer is checked as such', () => {
    pull();
    expect(decide(ANSWER.ALLOW)).toBe(EXACT);
    expect(decide(ANSWER.MUST_PULL)).toBe(WRONG);
  });
});

describe('listings', () => {
  const listed = (credentials = own.proof, updatedMs = nowMs) => ({
    imageRef: universe.refs[ref]!,
    lastUpdatedTime: new Date(updatedMs),
    credentialMapping: { [universe.names[universe.nameOfImage[image]!]!]: credentials },
  });
  const problemsOf = (records: Parameters<typeof checkRecords>[1]): string[] => {
    const read = verifier.beginRead();
    const problems = checkRecords(ledger, records, read);
    verifier.endRead(read);
    return problems;
  };

  it('accepts what it must hold', () => {
    pull();
    expect(problemsOf([listed()])).toEqual([]);
    expect(checkIntents(ledger, [])).toEqual([]);
  });

  it.each<{ name: string; records: () => Parameters<typeof checkRecords>[1]; problem: RegExp }>([
    { name: 'a missing record', records: () => [], problem: /is missing/ },
    { name: 'a missing proof', records: () => [listed({})], problem: /lacks the registry-login/ },
    {
      name: "another tenant's proof",
      records: () => [
        listed(
          normalized({
            kubernetesSecrets: [...own.proof.kubernetesSecrets!, ...other.proof.kubernetesSecrets!],
          }),
        ),
      ],
      problem: /nobody gave/,
    },
    {
      name: 'an old content',
      records: () => [listed(universe.tenants.credential(own.tenant, 3).proof)],
      problem: /has an old content/,
    },
    {
      name: 'access for the whole node',
      records: () => [listed({ nodePodsAccessible: true })],
      problem: /opens/,
    },
    { name: 'a wrong time', records: () => [listed(own.proof, nowMs + 1)], problem: /dated after/ },
    {
      name: 'an earlier time',
      records: () => [listed(own.proof, nowMs - 1)],
      problem: /dated before/,
    },
    { name: 'a record twice', records: () => [listed(), listed()], problem: /twice/ },
    {
      name: 'a record that nobody wrote',
      records: () => [listed(), { ...listed(), imageRef: 'sha256:no' }],
      problem: /never written/,
    },
  ])('finds $name', ({ records, problem }) => {
    pull();
    const problems = problemsOf(records());
    expect(problems.join('\n')).toMatch(problem);
    for (const { credentialHash } of own.proof.kubernetesSecrets!) {
      expect(problems.join('\n')).not.toContain(credentialHash);
    }
  });

  it('finds an intent that is missing, and one that should be gone', () => {
    intend();
    expect(checkIntents(ledger, [])).toEqual([`intent of ${universe.images[image]} is missing`]);
    pull();
    ledger.beginFailure(image);
    ledger.endFailure(image, true);
    expect(checkIntents(ledger, [universe.images[image]!])).toEqual([
      `intent of ${universe.images[image]} should be gone`,
    ]);
  });
});

it('describes a wrong answer without anything secret', () => {
  pull();
  expect(decide(MUST)).toBe(WRONG);
  const wrong = describeWrong(verifier, 0, {
    caller: 3,
    step: 14,
    operation: 159,
    method: 'decide',
    image,
    credential: own,
    given: MUST,
  });
  expect(wrong).toMatchObject({
    caller: 3,
    step: 14,
    operation: 159,
    image: universe.images[image],
    imageRef: universe.refs[ref],
    tenant: `${own.tenant} (content 0)`,
    given: 'pull (mustAuthenticate)',
    possible: ['use (credentialRecordFound)'],
  });
  expect(JSON.stringify(wrong)).not.toContain(own.proof.kubernetesSecrets![0]!.credentialHash);
});
