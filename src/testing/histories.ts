/** Random histories of a store, compared with a model after each step. */
import type { PullRecordsAccessor, RecordWrite } from '../accessors/accessor.ts';
import type { ImagePullCredentials, ImagePulledRecord } from '../records/record.ts';
import { Random } from '../util/random.ts';
import { same } from './expect.ts';
import { comparable, comparableList, record, secrets, TIME_MS } from './samples.ts';
import type { StoreUnderTest } from './suite-options.ts';

/** A step of a history: a single call, a batch, or closing and opening again. */
type Step =
  | { readonly kind: 'single'; readonly write: RecordWrite }
  | { readonly kind: 'batch'; readonly writes: readonly RecordWrite[] }
  | { readonly kind: 'reopen' };

// Few keys, so that writes meet; small records, so that histories are long.
const KEYS: readonly string[] = ['a', 'b', '__proto__', '', 'x'.repeat(3000), '\u{1f4e6}'];
const STEPS_MAX = 30;
const BATCH_MAX = 12;
const NAMES_MAX = 3;

/** Runs histories on stores of their own; throws at the first that goes another way than the model. */
export async function checkHistories(
  open: () => Promise<StoreUnderTest>,
  count: number,
  seed: number,
  timeResolutionMs = 1,
): Promise<void> {
  for (let index = 0; index < count; index++) {
    const history = historyOf(new Random(seed, index));
    const store = await open();
    try {
      await checkHistory(store, history, timeResolutionMs);
    } catch (cause) {
      const steps = history.map(describeStep).join(', ');
      const message = `history ${index} of seed ${seed} goes wrong: ${messageOf(cause)}\n${steps}`;
      throw new Error(message, { cause });
    } finally {
      await store.dispose?.();
    }
  }
}

function historyOf(random: Random): readonly Step[] {
  return Array.from({ length: 1 + random.below(STEPS_MAX) }, () => stepOf(random));
}

function stepOf(random: Random): Step {
  const draw = random.below(13);
  if (draw < 8) return { kind: 'single', write: writeOf(random) };
  if (draw === 12) return { kind: 'reopen' };
  const writes = Array.from({ length: random.below(BATCH_MAX + 1) }, () => writeOf(random));
  return { kind: 'batch', writes };
}

function writeOf(random: Random): RecordWrite {
  const key = pick(random, KEYS);
  switch (random.below(4)) {
    case 0:
      return { op: 'writeIntent', image: key };
    case 1:
      return { op: 'deleteIntent', image: key };
    case 2:
      return { op: 'deletePulled', imageRef: key };
    default: {
      const names = Array.from({ length: random.below(NAMES_MAX + 1) }, () => pick(random, KEYS));
      const entries = names.map((name) => [name, credentialsOf(random)] as const);
      const written = record(
        key,
        Object.fromEntries(entries),
        Math.floor(random.share() * TIME_MS),
      );
      return { op: 'writePulled', record: written };
    }
  }
}

function credentialsOf(random: Random): ImagePullCredentials {
  const draw = random.below(3);
  if (draw === 0) return {};
  return draw === 1 ? { nodePodsAccessible: true } : secrets(1 + random.below(4));
}

function pick<T>(random: Random, list: readonly T[]): T {
  return list[random.below(list.length)]!;
}

/** What a store should hold. */
class Model {
  readonly intents = new Set<string>();
  readonly pulled = new Map<string, ImagePulledRecord>();

  apply(write: RecordWrite): void {
    if (write.op === 'writePulled') this.pulled.set(write.record.imageRef, write.record);
    else if (write.op === 'deletePulled') this.pulled.delete(write.imageRef);
    else if (write.op === 'writeIntent') this.intents.add(write.image);
    else this.intents.delete(write.image);
  }
}

async function checkHistory(
  store: StoreUnderTest,
  history: readonly Step[],
  timeResolutionMs: number,
): Promise<void> {
  const model = new Model();
  let { accessor } = store;
  for (const [index, step] of history.entries()) {
    if (step.kind === 'reopen') {
      accessor = (await store.reopen?.()) ?? accessor;
    } else if (step.kind === 'batch') {
      await accessor.commit(step.writes);
      for (const write of step.writes) model.apply(write);
    } else {
      await applySingle(accessor, step.write);
      model.apply(step.write);
    }
    for (const key of KEYS) {
      const where = `of ${describeKey(key)} after step ${index}`;
      same(
        await accessor.imagePullIntentExists(key),
        model.intents.has(key),
        `the intent ${where}`,
      );
      const found = comparable(await accessor.getImagePulledRecord(key), timeResolutionMs);
      same(found, comparable(model.pulled.get(key), timeResolutionMs), `the record ${where}`);
    }
  }
  const images = (await accessor.listImagePullIntents()).records.map(({ image }) => image);
  same(images.sort(), [...model.intents].sort(), 'the listing of intents');
  const { records } = await accessor.listImagePulledRecords();
  const expected = comparableList([...model.pulled.values()], timeResolutionMs);
  same(comparableList(records, timeResolutionMs), expected, 'the listing of records');
}

async function applySingle(accessor: PullRecordsAccessor, write: RecordWrite): Promise<void> {
  if (write.op === 'writePulled') await accessor.writeImagePulledRecord(write.record);
  else if (write.op === 'deletePulled') await accessor.deleteImagePulledRecord(write.imageRef);
  else if (write.op === 'writeIntent') await accessor.writeImagePullIntent(write.image);
  else await accessor.deleteImagePullIntent(write.image);
}

function describeStep(step: Step): string {
  if (step.kind === 'reopen') return 'reopen';
  if (step.kind === 'single') return describeWrite(step.write);
  return `[${step.writes.map(describeWrite).join(', ')}]`;
}

function describeWrite(write: RecordWrite): string {
  if (write.op !== 'writePulled') {
    return `${write.op}(${describeKey(write.op === 'deletePulled' ? write.imageRef : write.image)})`;
  }
  const names = Object.keys(write.record.credentialMapping).map(describeKey);
  return `writePulled(${describeKey(write.record.imageRef)} with ${names.join(' ') || 'no name'})`;
}

function describeKey(key: string): string {
  return JSON.stringify(key.length > 20 ? `${key.slice(0, 8)}…` : key);
}

function messageOf(cause: unknown): string {
  return cause instanceof Error ? cause.message : String(cause);
}
