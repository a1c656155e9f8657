/** What engines may get wrong. Each of these must be noticed. */
import type { Mutant } from './mutant.ts';

const PRELOADED = 'NeverVerifyPreloadedImages';
const CALM = ['clock'] as const;

export const MUTANTS: readonly Mutant[] = [
  {
    name: 'a lock is not taken',
    file: 'engine/owner.ts',
    find: 'const stripes = batch.stripes(this.context.stripeCount);',
    replace: 'const stripes = [];',
    detector: 'simulation',
    focus: { disturbances: ['hold'] },
  },
  {
    name: "a record's version is not raised",
    file: 'engine/owner.ts',
    find: 'found.versionBefore = Atomics.add(versions, key.hash & slotMask, 1);',
    replace: 'found.versionBefore = Atomics.load(versions, key.hash & slotMask);',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: "an intent's version is not raised",
    file: 'engine/owner.ts',
    find: 'const isNews = changesIntent(intent);',
    replace: 'const isNews = false;',
    detector: 'simulation',
    focus: { disturbances: CALM, policy: PRELOADED },
  },
  {
    name: 'writes are not flushed',
    file: 'accessors/journal/segment.ts',
    find: 'const flags = fs.constants.O_RDWR | (flushesEachWrite ? O_DSYNC : 0);',
    replace: 'const flags = fs.constants.O_RDWR;',
    detector: 'durability',
  },
  {
    name: 'acknowledged before it is written',
    file: 'engine/owner.ts',
    find: 'const { request, pulled, intent } = step;',
    replace: `const { request, pulled, intent } = step;
      if (!isPrune(request) && request.op !== REQUEST.READ) {
        request.link.finish(request);
        any = true;
      }`,
    detector: 'durability',
  },
  {
    name: 'a batch is written after its acknowledgement',
    file: 'accessors/journal/segment-chain.ts',
    find: 'this.#current.writeSync(bytes);',
    replace: `const segment = this.#current, late = Buffer.from(bytes), at = segment.position;
        segment.position += late.length;
        setTimeout(() => {
          const now = segment.position;
          segment.position = at;
          segment.writeSync(late);
          segment.position = now;
        }, 5);`,
    detector: 'durability',
  },
  {
    name: 'a replica is believed without a look at the version',
    file: 'engine/replica.ts',
    find: 'return Atomics.load(this.#versions, entry.slot) === entry.version;',
    replace: 'return true;',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'an answer that is out of date is kept as current',
    file: 'engine/replica.ts',
    find: 'this.#records.set(imageRef, newEntry(slot, reply.recordVersion, record));',
    replace:
      'this.#records.set(imageRef, newEntry(slot, Atomics.load(this.#versions, slot), record));',
    detector: 'simulation',
    focus: { disturbances: CALM, policy: 'AlwaysVerify' },
  },
  {
    name: 'record and intent are read at two moments',
    file: 'engine/decider.ts',
    find: 'if (this.replica.isRecordVersion(imageRef, version)) {',
    replace: `await new Promise((resolve) => setTimeout(resolve, 10));
            const later = await this.#client.read(intentOwner, undefined, image);
            intent.flags = later.flags;
            if (true) {`,
    detector: 'simulation',
    focus: { disturbances: CALM, policy: PRELOADED, workerCount: 2, store: 'module' },
  },
  {
    name: 'the counter of pulls is lost',
    file: 'engine/batch.ts',
    find: 'if (intent.count > 1) {',
    replace: 'if (false) {',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'the counters die with their worker',
    file: 'engine/owner-loop.ts',
    find: 'inFlight: new InFlightTable(task.inFlight, task.workerIndex),',
    replace:
      'inFlight: new InFlightTable(InFlightTable.allocate(task.workerIndex + 1), task.workerIndex),',
    detector: 'simulation',
    focus: { disturbances: ['death'], store: 'journal', workerCount: 1 },
  },
  {
    name: 'a proof is dropped in merging',
    file: 'records/merge.ts',
    find: 'if (secrets === addedSecrets && accounts === addedAccounts)',
    replace: 'if (true)',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'accounts given with secrets are dropped',
    file: 'records/merge.ts',
    find: 'const addedAccounts = added.kubernetesServiceAccounts ?? NO_ACCOUNTS;',
    replace: 'const addedAccounts = NO_ACCOUNTS;',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'a record goes to the wrong stripe',
    file: 'engine/pull-writer.ts',
    find: 'const recordOwner = client.ownerOf(imageRef);',
    replace: 'const recordOwner = client.ownerOf(image);',
    detector: 'simulation',
    focus: { disturbances: CALM, workerCount: 2 },
  },
  {
    name: 'the intent goes before the record is there',
    file: 'engine/pull-writer.ts',
    find: 'if (recordOwner === intentOwner) {',
    replace: `if (true) {
            return client.write(intentOwner, OUTCOME, image).then(() =>
                client.write(recordOwner, PULLED, undefined, imageRef, imageName, proven, isAsked));
        }
        if (recordOwner === intentOwner) {`,
    detector: 'simulation',
    focus: { disturbances: CALM, workerCount: 2, policy: PRELOADED },
  },
  {
    name: 'pruning takes what is as old as the cut-off',
    file: 'engine/jobs.ts',
    find: 'const untilMs = Math.floor(cutOffMs / resolutionMs) * resolutionMs;',
    replace: 'const untilMs = cutOffMs + 1;',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'a reply goes to the wrong caller',
    file: 'protocol/host-link.ts',
    find: 'return this.#sent.at(index);',
    replace: `const before = index > 0 ? this.#sent.at(index - 1) : undefined;
        return before?.op === REQUEST.READ && before.reply === undefined ? before : this.#sent.at(index);`,
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'the policy is told that nothing was pulled',
    file: 'engine/decider.ts',
    find: 'return this.#needsProof(image, isPulled) ? NO_RECORD : POLICY_ALLOWED;',
    replace: 'return this.#needsProof(image, false) ? NO_RECORD : POLICY_ALLOWED;',
    detector: 'simulation',
    focus: { disturbances: CALM, policy: PRELOADED },
  },
  {
    name: 'left-over intents are not reconciled',
    file: 'engine/reconcile.ts',
    find: 'for (const image of names) {',
    replace: 'for (const image of names.slice(1)) {',
    detector: 'simulation',
    focus: { disturbances: ['restart'], store: 'journal', workerCount: 0 },
  },
  {
    name: 'replicas trust what was there before a worker died',
    file: 'engine/supervisor.ts',
    find: 'new UnpublishedSlots(state, workerIndex).raise();',
    replace: '',
    detector: 'simulation',
    focus: { disturbances: ['storeDies'], store: 'module', workerCount: 1, policy: PRELOADED },
  },
  {
    name: 'replicas trust what was there before a failed commit',
    file: 'engine/owner.ts',
    find: 'this.#distrust(writes);',
    replace: '',
    detector: 'simulation',
    focus: { disturbances: ['storeFails'], store: 'module', policy: PRELOADED },
  },
  {
    name: 'secrets without a hash are all the same',
    file: 'engine/decision.ts',
    find: "&& known.credentialHash !== ''",
    replace: '',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'a secret of that name in any namespace opens the image',
    file: 'engine/decision.ts',
    find: 'known.uid === pod.uid && known.namespace === pod.namespace && known.name === pod.name;',
    replace: 'known.name === pod.name;',
    detector: 'simulation',
    focus: { disturbances: CALM },
  },
  {
    name: 'a match under one name counts under another',
    file: 'engine/decider.ts',
    find: 'entry.lastHash = undefined;',
    replace: '',
    detector: 'simulation',
    focus: { disturbances: CALM, policy: 'AlwaysVerify' },
  },
  {
    name: 'credentials are mixed up in the journal',
    file: 'accessors/journal/batch.ts',
    find: 'numbers.set(credentials, numbers.size);',
    replace: 'numbers.set(credentials, 0);',
    detector: 'simulation',
    focus: { disturbances: ['restart'], store: 'journal' },
  },
];

/** Throws where there is none of that name. */
export function mutantNamed(name: string): Mutant {
  const mutant = MUTANTS.find((one) => one.name === name);
  if (mutant !== undefined) return mutant;
  throw new Error(`no mutant is called ${name}: ${MUTANTS.map((one) => one.name).join(', ')}`);
}
