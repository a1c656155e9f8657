/** A history as people read it: without secrets and hashes. */
import type { Violation } from './checker.ts';
import type { Answer, Call, Entry, History } from './history.ts';
import type { Act, Phase, Program } from './program.ts';
import { labelOf, OFFERS, PROOFS, type Universe } from './universe.ts';

/** One line a call, in the order in which they began; the one that cannot be is marked. */
export function describeViolation(
  violation: Violation,
  history: History,
  universe: Universe,
): string {
  const { what, at, entries } = violation;
  const lines = [`${what}: see the line with !, of ${entries.length} calls on the same keys`];
  for (const entry of entries) {
    lines.push(`${entry === at ? '!' : ' '} ${describeEntry(entry, universe)}`);
  }
  for (const { from, to, ms } of history.clock) lines.push(`  ${from}-${to} clock set to ${ms}`);
  for (const { from, to } of history.troubles) lines.push(`  ${from}-${to} trouble`);
  for (const { from, to } of history.holds) lines.push(`  ${from}-${to} all stripes were held`);
  return lines.join('\n');
}

export function describeProgram({ phases, listed }: Program): string {
  return phases
    .flatMap((phase, index) => [
      ...(index === 0 ? [] : [`restart; listed ${JSON.stringify(listed[index - 1])}`]),
      ...describePhase(phase),
    ])
    .join('\n');
}

function describePhase({ histories, disturbances }: Phase): string[] {
  const lines = histories.flatMap((callers, history) =>
    callers.map(
      (acts, index) => `history ${history + 1}, caller ${index + 1}: ${describeActs(acts)}`,
    ),
  );
  for (const { kind, after, ...fields } of disturbances) {
    lines.push(`after event ${after}: ${kind} ${JSON.stringify(fields)}`);
  }
  return lines;
}

function describeActs(acts: readonly Act[]): string {
  const told = acts.map(({ act, isAwaited, ...fields }) => {
    const shown = Object.entries(fields).map(([name, value]) => `${name} ${JSON.stringify(value)}`);
    return `${act}(${shown.join(', ')})${isAwaited ? '' : ' …'}`;
  });
  return told.join('; ');
}

function describeEntry({ caller, call, start, end, answer }: Entry, universe: Universe): string {
  const when = `${start}-${end}`.padEnd(12);
  const who = caller.padEnd(10);
  return `${when} ${who} ${describeCall(call, universe)} → ${describeAnswer(answer, universe)}`;
}

function describeCall(call: Call, universe: Universe): string {
  const keys: string[] = [];
  if ('image' in call) keys.push(nameOf(call.image, universe));
  if ('imageRef' in call) keys.push(nameOf(call.imageRef, universe));
  switch (call.op) {
    case 'pulled':
      return `pulled ${keys.join(' ')} ${labelOf(call.credentials, PROOFS)}`;
    case 'decide':
      return `${call.how} ${keys.join(' ')} ${labelOf(call.credentials, OFFERS)}`;
    case 'prune': {
      const listed = universe.imageRefs.filter((ref) => call.listed.includes(ref));
      return `prune all but [${listed.map((ref) => nameOf(ref, universe)).join(' ')}] before ${call.untilMs}`;
    }
    case 'restart':
      return `restart with ${call.images.map(({ id, repoTags }) => `${nameOf(repoTags[0]!, universe)} on ${nameOf(id, universe)}`).join(', ') || 'no images'}`;
    default:
      return `${call.op} ${keys.join(' ')}`.trim();
  }
}

function describeAnswer(answer: Answer, universe: Universe): string {
  switch (answer.kind) {
    case 'done':
      return 'done';
    case 'failed':
      return `failed with ${answer.code}`;
    case 'decision':
      return `${answer.mustPull ? 'must pull' : 'may use'} ${answer.reason ?? ''}`.trim();
    case 'record':
      return describeRecord(answer.record, universe);
    case 'records':
      return `[${answer.records.map((record) => describeRecord(record, universe)).join(', ')}]`;
    case 'intents':
      return `[${answer.images.map((image) => nameOf(image, universe)).join(', ')}]`;
    case 'pruned':
      return `${answer.count} pruned, ${answer.errorCount} errors`;
  }
}

function describeRecord(
  record: Extract<Answer, { kind: 'record' }>['record'],
  universe: Universe,
): string {
  if (record === undefined) return 'none';
  const names = Object.entries(record.credentialMapping).map(([name, proof]) => {
    if (proof.nodePodsAccessible === true) return `${name}: all pods`;
    const secrets = proof.kubernetesSecrets?.map(({ uid }) => uid) ?? [];
    const accounts = proof.kubernetesServiceAccounts?.map(({ uid }) => uid) ?? [];
    return `${name}: ${[...secrets, ...accounts].join('+') || 'nothing'}`;
  });
  const ref = nameOf(record.imageRef, universe);
  return `${ref} of ${record.lastUpdatedTime.getTime()} {${names.join(', ')}}`;
}

function nameOf(key: string, { images, imageRefs }: Universe): string {
  const image = images.indexOf(key);
  if (image >= 0) return `image${image}`;
  const ref = imageRefs.indexOf(key);
  return ref >= 0 ? `ref${ref}` : key;
}
