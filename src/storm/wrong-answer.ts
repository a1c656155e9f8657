/** A wrong decision with everything needed to replay it, and nothing secret. */
import { answerNames } from './answers.ts';
import { MATCH_WRITE_LIMIT } from './model-decision.ts';
import { type Register, SEEN } from './register.ts';
import type { Credential } from './tenants.ts';
import { LEFT_OVER } from './tracks.ts';
import type { Verifier } from './verifier.ts';

/** One wrong decision. */
export interface WrongAnswer {
  /** 0-based number of the caller, and of its step. */
  readonly caller: number;
  readonly step: number;
  /** 1-based number of the operation among all. */
  readonly operation: number;
  /** Method that was asked. */
  readonly method: string;
  readonly image: string;
  readonly imageRef: string;
  /** Number of the tenant and of its secret's content; `anonymous` for a pod without credentials. */
  readonly tenant: string;
  readonly given: string;
  readonly possible: readonly string[];
  /** What the model holds of the keys, in words. */
  readonly state: readonly string[];
}

/** Describes the decision of a slot that was just found wrong. */
export function describeWrong(
  verifier: Verifier,
  slot: number,
  decision: {
    readonly caller: number;
    readonly step: number;
    readonly operation: number;
    readonly method: string;
    readonly image: number;
    readonly credential: Credential;
    readonly given: number;
  },
): WrongAnswer {
  const { universe } = verifier.ledger;
  const { image, credential, given, ...where } = decision;
  return {
    ...where,
    image: universe.images[image]!,
    imageRef: universe.refs[universe.refOfImage[image]!]!,
    tenant: credential.isAnonymous
      ? 'anonymous'
      : `${credential.tenant} (content ${credential.version})`,
    given: answerNames(given).join(),
    possible: answerNames(verifier.possibleAnswers(slot)),
    state: describeState(verifier, image, credential),
  };
}

function describeState(verifier: Verifier, image: number, credential: Credential): string[] {
  const { ledger, policy } = verifier;
  const { universe } = ledger;
  const intent = ledger.intents[image]!;
  const record = ledger.records[universe.refOfImage[image]!]!;
  const leftOver = ['', ', left over', ', perhaps left over'][intent.leftOver ?? LEFT_OVER.NO];
  const lines = [
    `policy ${policy.kind}`,
    `pulls in flight ${intent.count}${leftOver} (under way: ${intent.pendingIntents} intents, ` +
      `${intent.pendingPulls} pulled, ${intent.pendingFailures} failed)`,
    `record ${describe(record.exists, ['absent', 'present'])}, ` +
      `${record.pendingWrites} writes and ${record.removals.length} removals under way`,
  ];
  const name = record.nameTrack(universe.nameOfImage[image]!);
  if (name === undefined) return [...lines, 'no proof for this name'];
  lines.push(
    `node-wide: ${describe(name.nodeWide, ['no', 'yes'])}, ` +
      `${name.secrets.size} secrets ever recorded (limit ${MATCH_WRITE_LIMIT})`,
  );
  for (const { place, hash } of credential.secrets) {
    const own = name.secrets.get(place);
    lines.push(`${universe.tenants.labelOf(place)}: ${describeSecret(own, hash)}`);
    for (const other of universe.tenants.placesOfHash[hash]!) {
      const shared = other === place ? undefined : name.secrets.get(other);
      if (shared === undefined) continue;
      const label = universe.tenants.labelOf(other);
      lines.push(`the same login as ${label}: ${describeSecret(shared, hash)}`);
    }
  }
  if (credential.account >= 0) {
    const account = name.accounts.get(credential.account);
    const label = universe.tenants.labelOf(credential.account);
    lines.push(`${label}: ${account ? describe(account, ['absent', 'recorded']) : 'absent'}`);
  }
  return lines;
}

function describe(register: Register, words: readonly [string, string]): string {
  if (register.writes === undefined) return words[register.value === 0 ? 0 : 1];
  const seen = register.writes.map(
    ({ start, end, value, isMaybe }) =>
      `${words[value === 0 ? 0 : 1]}${isMaybe ? '?' : ''} [${start}, ${end}]`,
  );
  return seen.join(' or ');
}

function describeSecret(register: Register | undefined, hash: number): string {
  const seen = register?.possible(hash, 0) ?? SEEN.ABSENT;
  const words: string[] = [];
  if ((seen & SEEN.VALUE) !== 0) words.push('recorded as presented');
  if ((seen & SEEN.OTHER) !== 0) words.push('recorded with other content');
  if ((seen & SEEN.ABSENT) !== 0) words.push('not recorded');
  return words.join(' or ');
}
