/**
 * What intents and pulled records are to the checker, and what each operation does to them:
 * the operations and the merging, written down a second time, independently of the engine.
 */
import type { ImagePullCredentials, ImagePulledRecord } from '../../../src/records/record.ts';
import type { Effect } from '../common/worlds.ts';

/** The intent of one image. */
export interface IntentState {
  /** In the store. */
  readonly isStored: boolean;
  /** Pulls in flight; 0 after a restart. */
  readonly count: number;
}

/** The proofs for one name. */
export interface NameState {
  readonly isNodeWide: boolean;
  /** Hash by coordinates. */
  readonly secrets: ReadonlyMap<string, string>;
  readonly accounts: ReadonlySet<string>;
}

/** A pulled record; `undefined`: there is none. */
export type RecordState =
  | undefined
  | {
      /** The last update was between these times. */
      readonly fromMs: number;
      readonly toMs: number;
      readonly names: ReadonlyMap<string, NameState>;
    };

export const NO_INTENT: IntentState = { isStored: false, count: 0 };

export function intentText({ isStored, count }: IntentState): string {
  return `${isStored ? 'stored' : 'absent'}, ${count} in flight`;
}

export function recordText(state: RecordState): string {
  return state === undefined
    ? 'absent'
    : `${state.fromMs}..${state.toMs} ${namesText(state.names)}`;
}

/** The proofs alone, the same text for the same proofs. */
export function namesText(names: ReadonlyMap<string, NameState>): string {
  const sorted = [...names.keys()].sort().map((name) => {
    const { isNodeWide, secrets, accounts } = names.get(name)!;
    const hashes = Array.from(secrets, ([coordinates, hash]) => `${coordinates}=${hash}`);
    return [name, isNodeWide, hashes.sort(), [...accounts].sort()];
  });
  return JSON.stringify(sorted);
}

/** A pull begins. Where it is not answered, its effect may be half: stored, not counted. */
export function beginPull(isAnswered: boolean): Effect<IntentState> {
  return ({ isStored, count }) => {
    const whole = { isStored: true, count: count + 1 };
    return isAnswered || isStored ? [whole] : [whole, { isStored: true, count }];
  };
}

/** A pull ends. Where it is not answered, its effect may be half: removed, still counted. */
export function endPull(isAnswered: boolean): Effect<IntentState> {
  return ({ isStored, count }) => {
    if (count > 1) return [{ isStored, count: count - 1 }];
    return isAnswered ? [NO_INTENT] : [NO_INTENT, { isStored: false, count }];
  };
}

/** The counters of a process end with it. */
export function restartIntent({ isStored }: IntentState): IntentState {
  return { isStored, count: 0 };
}

/** A pull succeeded between these times. */
export function recordPulled(
  imageName: string,
  credentials: ImagePullCredentials | null,
  fromMs: number,
  toMs: number,
): Effect<RecordState> {
  const added = credentials === null ? undefined : nameStateOf(credentials);
  return (state) => {
    if (state === undefined) {
      const names = new Map(added === undefined ? [] : [[imageName, added]]);
      return [{ fromMs, toMs, names }];
    }
    if (added === undefined || provesNothing(added)) return [state];
    const before = state.names.get(imageName);
    const after = before === undefined ? added : merge(before, added);
    if (after === before) return [state];
    return [{ fromMs, toMs, names: new Map(state.names).set(imageName, after) }];
  };
}

/** A decision finds that this secret matches one which is recorded differently. */
export function findMatch(
  imageName: string,
  credentials: ImagePullCredentials,
): Effect<RecordState> {
  const [[coordinates, hash] = ['', '']] = nameStateOf(credentials).secrets;
  return (state) => {
    const recorded = state?.names.get(imageName);
    if (recorded === undefined || recorded.isNodeWide) return [];
    if (recorded.secrets.get(coordinates) === hash) return [];
    const matches =
      recorded.secrets.has(coordinates) || [...recorded.secrets.values()].includes(hash);
    return matches ? [state] : [];
  };
}

/** A decision finds the proof of this service account, or that the image is everybody's. */
export function isProven(
  imageName: string,
  credentials: ImagePullCredentials,
): Effect<RecordState> {
  const [account = ''] = nameStateOf(credentials).accounts;
  return (state) => {
    const proofs = state?.names.get(imageName);
    if (proofs === undefined) return [];
    return proofs.isNodeWide || proofs.accounts.has(account) ? [state] : [];
  };
}

/** Tolerance between the clocks of two threads. */
const CLOCK_MS = 1;

/** Pruning comes across the record, whose reference is not listed. */
export function pruneRecord(untilMs: number): Effect<RecordState> {
  return (state) => {
    if (state === undefined) return [undefined];
    if (state.toMs < untilMs) return [undefined];
    return state.fromMs >= untilMs ? [state] : [state, undefined];
  };
}

/** Whether a record that was seen is the state. */
export function isRecord(seen: RecordState): (state: RecordState) => boolean {
  const text = seen === undefined ? '' : namesText(seen.names);
  return (state) => {
    if (state === undefined || seen === undefined) return state === seen;
    const timeFits = seen.fromMs >= state.fromMs - CLOCK_MS && seen.fromMs <= state.toMs + CLOCK_MS;
    return timeFits && namesText(state.names) === text;
  };
}

/** What was seen of a record, checked field by field: anything half or unknown throws. */
export function seenRecord(record: ImagePulledRecord): RecordState {
  const timeMs = new Date(record.lastUpdatedTime).getTime();
  if (!Number.isFinite(timeMs)) throw new Error('a record has no time');
  onlyFields(record, ['imageRef', 'lastUpdatedTime', 'credentialMapping']);
  const names = new Map<string, NameState>();
  for (const [name, credentials] of Object.entries(record.credentialMapping)) {
    onlyFields(credentials, [
      'nodePodsAccessible',
      'kubernetesSecrets',
      'kubernetesServiceAccounts',
    ]);
    const secrets = credentials.kubernetesSecrets ?? [];
    const accounts = credentials.kubernetesServiceAccounts ?? [];
    for (const secret of secrets)
      textFields(secret, ['uid', 'namespace', 'name', 'credentialHash']);
    for (const account of accounts) textFields(account, ['uid', 'namespace', 'name']);
    const state = nameStateOf(credentials);
    const size = state.secrets.size + state.accounts.size;
    if (size !== secrets.length + accounts.length) throw new Error('a proof is recorded twice');
    if (state.isNodeWide && size > 0) throw new Error('a node-wide entry has proofs');
    names.set(name, state);
  }
  return { fromMs: timeMs, toMs: timeMs, names };
}

/** What of `state` is not in `seen`: proofs by name, or the whole record. */
export function missingProofs(state: RecordState, seen: RecordState): string[] {
  if (state === undefined) return [];
  if (seen === undefined) return ['the record'];
  const missing: string[] = [];
  for (const [name, proofs] of state.names) {
    const found = seen.names.get(name);
    if (found === undefined) {
      missing.push(`the name ${name}`);
      continue;
    }
    if (found.isNodeWide) continue;
    if (proofs.isNodeWide) missing.push(`${name} node-wide`);
    for (const [coordinates, hash] of proofs.secrets) {
      if (found.secrets.get(coordinates) !== hash) missing.push(`${name} ${coordinates}=${hash}`);
    }
    for (const account of proofs.accounts) {
      if (!found.accounts.has(account)) missing.push(`${name} ${account}`);
    }
  }
  return missing;
}

function nameStateOf(credentials: ImagePullCredentials): NameState {
  const coordinatesOf = (proof: { uid: string; namespace: string; name: string }): string =>
    `${proof.namespace}/${proof.name}/${proof.uid}`;
  return {
    isNodeWide: credentials.nodePodsAccessible === true,
    secrets: new Map(
      credentials.kubernetesSecrets?.map((it) => [coordinatesOf(it), it.credentialHash]),
    ),
    accounts: new Set(credentials.kubernetesServiceAccounts?.map(coordinatesOf)),
  };
}

function provesNothing({ isNodeWide, secrets, accounts }: NameState): boolean {
  return !isNodeWide && secrets.size === 0 && accounts.size === 0;
}

/** The state itself where nothing is added to it. */
function merge(state: NameState, added: NameState): NameState {
  if (state.isNodeWide) return state;
  if (added.isNodeWide) return added;
  let isChanged = false;
  const secrets = new Map(state.secrets);
  for (const [coordinates, hash] of added.secrets) {
    if (secrets.get(coordinates) === hash) continue;
    secrets.set(coordinates, hash);
    isChanged = true;
  }
  const accounts = new Set(state.accounts);
  for (const account of added.accounts) {
    if (accounts.has(account)) continue;
    accounts.add(account);
    isChanged = true;
  }
  return isChanged ? { isNodeWide: false, secrets, accounts } : state;
}

function onlyFields(value: object, known: readonly string[]): void {
  for (const field of Object.keys(value)) {
    if (!known.includes(field)) throw new Error(`a record has the unknown field ${field}`);
  }
}

function textFields(value: object, fields: readonly string[]): void {
  onlyFields(value, fields);
  for (const field of fields) {
    if (typeof (value as Record<string, unknown>)[field] !== 'string') {
      throw new Error(`a proof is half there: ${field} is missing`);
    }
  }
}
