/**
 * What an engine may answer where some of its writes were rejected. A rejected write may have taken
 * effect or not; one that was acknowledged has, now and after a restart. So the oracle follows every
 * state that there can be, each in a sequential model, and an answer has to be right in one of them.
 *
 * Images and references are in groups that have nothing to do with each other (`groupOf`), each with
 * its own few states.
 */
import type { Decision, ImagePulledRecord, PodCredentials } from '../../../src/index.ts';
import { type ModelOperation, PullModel } from '../../support/pull-model.ts';

/** More states of a group than that: the script asks for too much. */
const STATES_MAX = 4096;

/** The group of an image or a reference: the second part of its path. */
export function groupOf(text: string): string {
  const group = text.split('/')[1];
  if (group === undefined) throw new Error(`${text} is in no group`);
  return group;
}

/** Who asks for what. */
export interface Question {
  readonly image: string;
  readonly imageRef: string;
  readonly credentials: PodCredentials | undefined;
}

type Verdict = Pick<Decision, 'mustPull' | 'reason'>;

/** What a group may have come to; the operations say how. */
interface State {
  readonly operations: readonly ModelOperation[];
  readonly model: PullModel;
  /** Decisions on questions that teach nothing and are asked again and again. */
  readonly decisions: Map<Question, string>;
}

/** The ways in which one thing may have gone, each as the operations that took effect. */
type Ways = readonly (readonly ModelOperation[])[];

class Group {
  /** What the store may hold at the beginning of this life of the engine. */
  #base: State[] = [stateOf([])];
  /** What may have happened since. */
  #history: Ways[] = [];
  /** What the running engine may show. */
  states: State[] = this.#base;

  happened(ways: Ways): void {
    this.#history.push(ways);
    this.states = stepped(this.states, ways);
  }

  /** Keeps the states that explain an answer; false: there is none, and all stay. */
  saw(explains: (state: State) => boolean): boolean {
    const left = this.states.filter(explains);
    if (left.length === 0) return false;
    this.states = left;
    return true;
  }

  /**
   * The engine was closed and opened. What it has shown says nothing of what the store has kept of
   * writes that were rejected.
   */
  restarted(): void {
    this.reread();
    this.#base = stepped(this.states, [[{ op: 'restart', images: [] }]]);
    this.#history = [];
    this.states = this.#base;
  }

  /** The running engine has read the store again. */
  reread(): void {
    let states = this.#base;
    for (const ways of this.#history) states = stepped(states, ways);
    this.states = states;
  }

  /** What was seen since the restart is all there is: the store is what it is. */
  settle(): void {
    if (this.#history.length === 0) this.#base = this.states;
  }
}

export class Oracle {
  readonly #groups = new Map<string, Group>();

  /** An operation was acknowledged. */
  acknowledged(operation: ModelOperation & { readonly image: string }): void {
    this.#group(operation.image).happened([[operation]]);
  }

  /** A write was rejected, or took effect without anybody being told. */
  uncertain(operation: ModelOperation & { readonly image: string }): void {
    this.#group(operation.image).happened(waysOf(operation));
  }

  /** All records but those listed were pruned, or, where `failed` of them could not be, some of them. */
  pruned(imageRefs: readonly string[], wereAll: boolean): void {
    for (const group of this.#groups.values()) {
      const all: ModelOperation = { op: 'prune', imageRefs, untilMs: Number.POSITIVE_INFINITY };
      if (wereAll) {
        group.happened([[all]]);
        continue;
      }
      const refs = new Set(group.states.flatMap(({ model }) => refsOf(model)));
      const ways = subsets([...refs].filter((ref) => !imageRefs.includes(ref))).map((kept) => {
        return [{ ...all, imageRefs: [...imageRefs, ...kept] }];
      });
      group.happened(ways);
    }
  }

  restarted(): void {
    for (const group of this.#groups.values()) group.restarted();
  }

  /** Owners were replaced, and have read the store. */
  reread(): void {
    for (const group of this.#groups.values()) group.reread();
  }

  /** Call after a restart, when everything has been looked at. */
  settle(): void {
    for (const group of this.#groups.values()) group.settle();
  }

  /** How many records there may be that are not listed. */
  prunable(imageRefs: readonly string[]): { readonly least: number; readonly most: number } {
    let least = 0;
    let most = 0;
    for (const { states } of this.#groups.values()) {
      const counts = states.map(
        ({ model }) => refsOf(model).filter((ref) => !imageRefs.includes(ref)).length,
      );
      least += Math.min(...counts);
      most += Math.max(...counts);
    }
    return { least, most };
  }

  /** What is wrong with a decision; undefined: nothing. */
  decided(question: Question, verdict: Verdict): string | undefined {
    const { image, credentials } = question;
    const answered = verdictText(verdict);
    const { states } = this.#group(image);
    const isRight = this.#group(image).saw((state) => decisionOf(state, question) === answered);
    if (isRight) return undefined;
    const may = new Set(states.map((state) => decisionOf(state, question)));
    return `${image} for ${nameOf(credentials)}: answered ${answered}, may be ${[...may].join(' or ')}`;
  }

  /** What is wrong with a listing of intents. */
  listedIntents(images: readonly string[]): string[] {
    const problems = this.#strangers(images);
    for (const [name, group] of this.#groups) {
      const found = images.filter((image) => groupOf(image) === name).sort();
      const text = found.join(' ');
      if (!group.saw(({ model }) => intentsOf(model).join(' ') === text)) {
        const may = group.states.map(({ model }) => `[${intentsOf(model).join(' ')}]`);
        problems.push(`intents of ${name}: listed [${text}], may be ${may.join(' or ')}`);
      }
    }
    return problems;
  }

  /** What is wrong with a listing of records. */
  listedRecords(records: readonly ImagePulledRecord[]): string[] {
    const problems = this.#strangers(records.map(({ imageRef }) => imageRef));
    for (const [name, group] of this.#groups) {
      const found = records.filter(({ imageRef }) => groupOf(imageRef) === name);
      const text = recordsText(found);
      if (!group.saw(({ model }) => recordsText(recordsOf(model)) === text)) {
        const may = group.states.map(({ model }) => recordsText(recordsOf(model)));
        problems.push(`records of ${name}: listed ${text}, may be ${may.join(' or ')}`);
      }
    }
    return problems;
  }

  /** What is wrong with a single record. */
  got(imageRef: string, record: ImagePulledRecord | undefined): string | undefined {
    const text = recordsText(record === undefined ? [] : [record]);
    const own = (model: PullModel): ImagePulledRecord[] =>
      recordsOf(model).filter((one) => one.imageRef === imageRef);
    if (this.#group(imageRef).saw(({ model }) => recordsText(own(model)) === text))
      return undefined;
    return `record ${imageRef}: got ${text}`;
  }

  #group(text: string): Group {
    const name = groupOf(text);
    let group = this.#groups.get(name);
    if (group === undefined) {
      group = new Group();
      this.#groups.set(name, group);
    }
    return group;
  }

  #strangers(texts: readonly string[]): string[] {
    return texts
      .filter((text) => !this.#groups.has(groupOf(text)))
      .map((text) => `who is ${text}?`);
  }
}

/** What a write that was rejected may have done. The record always comes before the end of the pull. */
function waysOf(operation: ModelOperation): Ways {
  if (operation.op !== 'pulled') return [[], [operation]];
  return [[], [{ ...operation, op: 'writePulled' }], [operation]];
}

function stepped(states: readonly State[], ways: Ways): State[] {
  const next = new Map<string, State>();
  for (const { operations } of states) {
    for (const way of ways) {
      const state = stateOf([...operations, ...way]);
      next.set(keyOf(state.model, operations), state);
    }
  }
  if (next.size > STATES_MAX) throw new Error(`there are ${next.size} states to follow`);
  return [...next.values()];
}

function stateOf(operations: readonly ModelOperation[]): State {
  const model = new PullModel();
  for (const operation of operations) model.apply(operation);
  return { operations, model, decisions: new Map() };
}

function decisionOf(state: State, question: Question): string {
  let text = state.decisions.get(question);
  if (text === undefined) {
    const { image, imageRef, credentials } = question;
    // Deciding may teach the model something, so a copy decides.
    const { model } = stateOf(state.operations);
    const answer = model.apply({ op: 'decide', image, imageRef, credentials });
    if (answer.kind !== 'decision') throw new Error('the model did not decide');
    text = verdictText(answer);
    state.decisions.set(question, text);
  }
  return text;
}

function verdictText({ mustPull, reason }: Verdict): string {
  return `${mustPull ? 'must pull' : 'need not pull'} (${reason})`;
}

/** The same for states that will answer alike. */
function keyOf(model: PullModel, operations: readonly ModelOperation[]): string {
  const images = new Set(operations.flatMap((one) => ('image' in one ? [one.image] : [])));
  const counts = [...images].map((image) => `${image}=${model.inFlight(image)}`).sort();
  return [recordsText(recordsOf(model)), ...intentsOf(model), ...counts].join('\n');
}

function intentsOf(model: PullModel): readonly string[] {
  const answer = model.apply({ op: 'listIntents' });
  return answer.kind === 'intents' ? answer.images : [];
}

function recordsOf(model: PullModel): ImagePulledRecord[] {
  const answer = model.apply({ op: 'listRecords' });
  return answer.kind === 'records' ? [...answer.records] : [];
}

function refsOf(model: PullModel): string[] {
  return recordsOf(model).map(({ imageRef }) => imageRef);
}

/** Records as text, without their times. */
function recordsText(records: readonly ImagePulledRecord[]): string {
  const lines = records.map(({ imageRef, credentialMapping }) => {
    const names = Object.entries(credentialMapping).map(([name, credentials]) => {
      const { nodePodsAccessible, kubernetesSecrets, kubernetesServiceAccounts } = credentials;
      const secrets = (kubernetesSecrets ?? []).map(
        ({ uid, namespace, name: secret, credentialHash }) =>
          `${namespace}/${secret}/${uid}#${credentialHash}`,
      );
      const accounts = (kubernetesServiceAccounts ?? []).map(
        ({ uid, namespace, name: account }) => `${namespace}/${account}/${uid}`,
      );
      const node = nodePodsAccessible === true ? 'node' : '';
      return `${name}{${[node, ...secrets.sort(), ...accounts.sort()].join(' ')}}`;
    });
    return `${imageRef}: ${names.sort().join(', ')}`;
  });
  return `[${lines.sort().join('; ')}]`;
}

function nameOf(credentials: PodCredentials | undefined): string {
  const secrets = (credentials?.secrets ?? []).map(({ name }) => name);
  const account = credentials?.serviceAccount?.name;
  return [...secrets, ...(account === undefined ? [] : [account])].join('+') || 'nobody';
}

function subsets<T>(items: readonly T[]): T[][] {
  return items.reduce<T[][]>((all, item) => all.flatMap((one) => [one, [...one, item]]), [[]]);
}
