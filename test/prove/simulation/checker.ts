/**
 * Decides whether a recorded history can be explained: whether each call can be given a moment, or
 * one for each of its steps, between its start and its end, so that the sequential model, taken
 * through them in that order, answers as the engine did (Herlihy and Wing 1990).
 *
 * The search is that of Wing and Gong with Lowe's memory, forwards: all states that the keys may be
 * in, each with the running calls that have taken effect in it. Keys that no call touches together
 * are searched apart, which is sound since the property is local.
 */
import { type KeyOperation, KeyWorlds, TooManyOperationsError } from '../common/worlds.ts';
import { type Component, isFailed, operationsOf } from './effects.ts';
import type { Entry, History, Interval } from './history.ts';
import { INITIAL, type Rules, type SearchState, textOfState } from './model-state.ts';

/** Why a history cannot be. */
export interface Violation {
  readonly what: string;
  /** The first entry that cannot be explained. */
  readonly at: Entry;
  /** The entries on its keys, by start. */
  readonly entries: readonly Entry[];
}

/** `undecided`: too many calls ran at a time to say. */
export type Verdict = { readonly kind: 'fine' } | { readonly kind: 'undecided' } | Violated;
export interface Violated {
  readonly kind: 'violated';
  readonly violation: Violation;
}

const FINE: Verdict = { kind: 'fine' };

/** Checks one history, of keys of which nothing was recorded before it. */
export function checkHistory(history: History, rules: Rules): Verdict {
  const entries = history.entries.toSorted((a, b) => a.start - b.start);
  const troubles = history.troubles.map((trouble) => reachOf(trouble, entries));
  const isTroubled = (entry: Entry): boolean => troubles.some((one) => overlaps(one, entry));
  for (const at of entries) {
    const what = wrongByItself(at, history, isTroubled(at));
    if (what !== undefined) return { kind: 'violated', violation: { what, at, entries } };
  }
  let isUndecided = false;
  for (const component of componentsOf(entries)) {
    const search = new ComponentSearch(history, entries, rules, component, isTroubled);
    const verdict = search.run();
    if (verdict.kind === 'violated') return verdict;
    if (verdict.kind === 'undecided') isUndecided = true;
  }
  return isUndecided ? { kind: 'undecided' } : FINE;
}

/** What is wrong with an entry whatever the others are. */
function wrongByItself(entry: Entry, history: History, isTroubled: boolean): string | undefined {
  const { answer } = entry;
  const hasErrors = isFailed(entry) || ('errorCount' in answer && answer.errorCount > 0);
  if (hasErrors && !isTroubled) return 'an error where nothing was in trouble';
  if (answer.kind !== 'done') return undefined;
  const isHeld = history.holds.some(({ from, to }) => from < entry.start && entry.end < to);
  return isHeld ? 'written while somebody else held all stripes' : undefined;
}

/** Calls that were under way in a time of trouble may hear of it later; those beside them too. */
function reachOf(trouble: Interval, entries: readonly Entry[]): Interval {
  let { to } = trouble;
  for (const entry of entries) if (overlaps(trouble, entry)) to = Math.max(to, entry.end);
  return { from: trouble.from, to };
}

function overlaps({ from, to }: Interval, { start, end }: Entry): boolean {
  return start < to && from < end;
}

/** The keys of a call that takes effect on them together; none: on each of all keys by itself. */
function keysOf({ call }: Entry): string[] {
  const keys: string[] = [];
  if ('image' in call) keys.push(imageKey(call.image));
  if ('imageRef' in call) keys.push(refKey(call.imageRef));
  return keys;
}

/** Images and references are different keys, though their texts may be equal. */
function imageKey(image: string): string {
  return `image ${image}`;
}

function refKey(imageRef: string): string {
  return `ref ${imageRef}`;
}

/** Every key that any entry names, in groups that no entry joins. */
function componentsOf(entries: readonly Entry[]): Component[] {
  const parents = new Map<string, string>();
  const rootOf = (key: string): string => {
    let root = key;
    for (let up = parents.get(root); up !== undefined && up !== root; up = parents.get(root)) {
      root = up;
    }
    parents.set(key, root);
    return root;
  };
  const join = (keys: readonly string[]): void => {
    const [first] = keys;
    for (const key of keys) parents.set(rootOf(key), rootOf(first!));
  };
  for (const entry of entries) {
    const { call, answer } = entry;
    join(keysOf(entry));
    if (call.op === 'restart') {
      for (const { id, repoTags, repoDigests } of call.images) {
        join([refKey(id), ...[...repoTags, ...repoDigests].map(imageKey)]);
      }
    }
    if (answer.kind === 'intents') for (const image of answer.images) join([imageKey(image)]);
    if (answer.kind === 'records')
      for (const { imageRef } of answer.records) join([refKey(imageRef)]);
  }
  const groups = new Map<string, { images: Set<string>; imageRefs: Set<string> }>();
  for (const key of parents.keys()) {
    const root = rootOf(key);
    const group = groups.get(root) ?? { images: new Set(), imageRefs: new Set() };
    groups.set(root, group);
    const [kind] = key.split(' ', 1);
    const text = key.slice(kind!.length + 1);
    (kind === 'image' ? group.images : group.imageRefs).add(text);
  }
  return [...groups.values()];
}

/** The search for one component. */
class ComponentSearch {
  readonly #history: History;
  readonly #rules: Rules;
  readonly #component: Component;
  readonly #isTroubled: (entry: Entry) => boolean;
  readonly #entries: readonly Entry[];
  readonly #worlds = new KeyWorlds<SearchState>(INITIAL, textOfState);

  constructor(
    history: History,
    entries: readonly Entry[],
    rules: Rules,
    component: Component,
    isTroubled: (entry: Entry) => boolean,
  ) {
    this.#history = history;
    this.#rules = rules;
    this.#component = component;
    this.#isTroubled = isTroubled;
    this.#entries = entries.filter((entry) => this.#isOurs(entry));
  }

  run(): Verdict {
    const operations = this.#entries.map((entry, index) =>
      operationsOf(index, entry, {
        rules: this.#rules,
        component: this.#component,
        timesMs: timesDuring(this.#history, entry),
        isTroubled: this.#isTroubled(entry),
        lostEnds: lostEndsBeside(entry, this.#entries),
      }),
    );
    const events = this.#entries.flatMap((entry, index) => [
      { at: entry.start, index, isEnd: false },
      { at: entry.end, index, isEnd: true },
    ]);
    events.sort((a, b) => a.at - b.at);
    try {
      for (const { index, isEnd } of events) {
        if (!isEnd) for (const operation of operations[index]!) this.#worlds.start(operation);
        else if (!this.#end(operations[index]!)) return this.#violated(index);
      }
    } catch (error) {
      if (error instanceof TooManyOperationsError) return { kind: 'undecided' };
      throw error;
    }
    return FINE;
  }

  #isOurs(entry: Entry): boolean {
    const keys = keysOf(entry);
    if (keys.length === 0) return true;
    const { images, imageRefs } = this.#component;
    const { call } = entry;
    return 'image' in call
      ? images.has(call.image)
      : 'imageRef' in call && imageRefs.has(call.imageRef);
  }

  /** Whether any order of the calls explains what was answered. */
  #end(operations: readonly KeyOperation<SearchState>[]): boolean {
    let isExplained = true;
    for (const { id, isOptional } of operations) {
      if (isOptional) this.#worlds.reject(id);
      else isExplained = this.#worlds.acknowledge(id) && isExplained;
    }
    return isExplained;
  }

  #violated(index: number): Verdict {
    const at = this.#entries[index]!;
    const what = 'no order of the calls explains the answer';
    return { kind: 'violated', violation: { what, at, entries: this.#entries } };
  }
}

/** How many ends of pulls of its image failed while an entry went on, where it is one itself. */
function lostEndsBeside(entry: Entry, entries: readonly Entry[]): number {
  const { call } = entry;
  if (!isLostEnd(entry) || !('image' in call)) return 0;
  const isBeside = (other: Entry): boolean =>
    isLostEnd(other) &&
    'image' in other.call &&
    other.call.image === call.image &&
    overlaps({ from: other.start, to: other.end }, entry);
  return entries.filter(isBeside).length;
}

function isLostEnd(entry: Entry): boolean {
  return (entry.call.op === 'pulled' || entry.call.op === 'failed') && isFailed(entry);
}

/** What the clock may have shown to a call. */
function timesDuring({ startedAtMs, clock }: History, { start, end }: Entry): number[] {
  const times = new Set<number>();
  let ms = startedAtMs;
  let since = Number.NEGATIVE_INFINITY;
  for (const changed of [...clock, undefined]) {
    const until = changed?.to ?? Number.POSITIVE_INFINITY;
    if (since < end && start < until) times.add(ms);
    if (changed === undefined) break;
    ms = changed.ms;
    since = changed.from;
  }
  return [...times];
}
