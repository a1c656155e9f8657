import { describe, expect, it } from 'vitest';
import type { ImagePulledRecord } from '../../../src/records/record.ts';
import { ANSWER, EVENT, FOREIGN, OPERATION, type StormEvent, stormEvent } from './log.ts';
import { CrashModel } from './model.ts';
import { type Dump, rightAnswers } from './sweep.ts';
import {
  CREDENTIALS,
  credentialsCode,
  credentialsOf,
  imageNameOf,
  imageOf,
  PRUNE_CLASSES,
  refOf,
  refsOf,
  tenantOf,
} from './universe.ts';

const IMAGE = 120;
const [REF] = refsOf(IMAGE);
const OTHER = { image: IMAGE + 20, ref: refsOf(IMAGE + 20)[0] };
const TENANT = tenantOf(IMAGE, 0);
const SECRET = credentialsCode(CREDENTIALS.SECRET, TENANT, 1);
const ROTATED = credentialsCode(CREDENTIALS.SECRET, TENANT, 2);
const SHARED = credentialsCode(CREDENTIALS.SHARED_SECRET, TENANT, 0);
const ANOTHERS = credentialsCode(CREDENTIALS.SECRET, TENANT + 1, 1);
const ACCOUNT = credentialsCode(CREDENTIALS.ACCOUNT, TENANT);
const NOW = 1_800_000_000_000;

/** Writes down what happened, one millisecond each. */
class Story {
  readonly events: StormEvent[] = [stormEvent(EVENT.READY)];

  start(operation: number, fields: Partial<StormEvent> = {}): number {
    const id = this.events.length;
    this.#add(EVENT.START, { image: IMAGE, ref: REF, ...fields, operation, id });
    return id;
  }

  ack(id: number): this {
    return this.#add(EVENT.ACK, { id });
  }

  reject(id: number): this {
    return this.#add(EVENT.REJECT, { id });
  }

  did(operation: number, fields: Partial<StormEvent> = {}): this {
    return this.ack(this.start(operation, fields));
  }

  /** Somebody asks and is answered. */
  looked(credentials: number, answer: number, key = { image: IMAGE, ref: REF }): this {
    const fields = { operation: LOOK, ...key, credentials };
    const id = this.start(LOOK, fields);
    return this.#add(EVENT.ACK, { ...fields, id, unlisted: answer });
  }

  #add(event: number, fields: Partial<StormEvent>): this {
    this.events.push(stormEvent(event, { timeMs: NOW + this.events.length, ...fields }));
    return this;
  }
}

function recordOf(code: number, timeMs: number): ImagePulledRecord {
  const credentials = credentialsOf(code);
  return {
    imageRef: refOf(REF),
    lastUpdatedTime: new Date(timeMs),
    credentialMapping: credentials === null ? {} : { [imageNameOf(IMAGE)]: credentials },
  };
}

function dump(content: { intents?: string[]; records?: ImagePulledRecord[] }): Dump {
  const { intents = [], records = [] } = content;
  return {
    intents,
    records,
    counted: `${intents.length} intents, ${records.length} records`,
    answers: rightAnswers({ intents, records }),
  };
}

/** The kinds of findings in what a store holds after a life was killed. */
function kindsAfter(story: Story, seen: Dump): string[] {
  const model = new CrashModel();
  const end = { timeMs: NOW + 1_000 };
  model.follow(story.events, undefined, undefined, end);
  const findings = model.follow([stormEvent(EVENT.READY)], seen, undefined, end);
  return findings.map(({ kind }) => kind);
}

const { INTENT, PULLED, FAILED, MATCH, PRUNE, LOOK } = OPERATION;
const INTENT_THERE = dump({ intents: [imageOf(IMAGE)] });
const NOTHING = dump({});
const RECORD = recordOf(SECRET, NOW + 4);
const RECORD_THERE = dump({ records: [RECORD] });
const pulled = (): Story => new Story().did(INTENT).did(PULLED, { credentials: SECRET });
const unlisted = REF % PRUNE_CLASSES;

describe('what a store holds after a kill', () => {
  const cases: { name: string; story: () => Story; seen: Dump; kinds: string[] }[] = [
    {
      name: 'an acknowledged intent that is there',
      story: () => new Story().did(INTENT),
      seen: INTENT_THERE,
      kinds: [],
    },
    {
      name: 'an acknowledged intent that is gone',
      story: () => new Story().did(INTENT),
      seen: NOTHING,
      kinds: ['loss'],
    },
    {
      name: 'an intent that was started and is there',
      story: () => started(INTENT),
      seen: INTENT_THERE,
      kinds: [],
    },
    {
      name: 'an intent that was started and is not there',
      story: () => started(INTENT),
      seen: NOTHING,
      kinds: [],
    },
    {
      name: 'an intent that was rejected and is there',
      story: () => rejected(INTENT),
      seen: INTENT_THERE,
      kinds: [],
    },
    {
      name: 'an intent that nobody started',
      story: () => new Story(),
      seen: INTENT_THERE,
      kinds: ['invention'],
    },
    {
      name: 'an intent whose end was acknowledged',
      story: () => new Story().did(INTENT).did(FAILED),
      seen: INTENT_THERE,
      kinds: ['revival'],
    },
    {
      name: 'an intent whose end was only started',
      story: () => started(FAILED, new Story().did(INTENT)),
      seen: INTENT_THERE,
      kinds: [],
    },
    {
      name: 'an intent that is gone after one of two pulls has ended',
      story: () => new Story().did(INTENT).did(INTENT).did(FAILED),
      seen: NOTHING,
      kinds: ['loss'],
    },
    {
      name: 'an intent that is gone after the first of two pulls ends and the second begins',
      story: () => new Story().did(INTENT).did(FAILED).did(INTENT),
      seen: NOTHING,
      kinds: ['loss'],
    },
    { name: 'an acknowledged record that is there', story: pulled, seen: RECORD_THERE, kinds: [] },
    { name: 'an acknowledged record that is gone', story: pulled, seen: NOTHING, kinds: ['loss'] },
    {
      name: 'a record without the credentials it was given',
      story: pulled,
      seen: dump({ records: [{ ...RECORD, credentialMapping: {} }] }),
      kinds: ['loss'],
    },
    {
      name: 'a record with credentials that nobody gave',
      story: pulled,
      seen: dump({ records: [recordOf(ANOTHERS, NOW + 4)] }),
      kinds: ['loss'],
    },
    {
      name: 'a record of another time',
      story: pulled,
      seen: dump({ records: [recordOf(SECRET, NOW + 400)] }),
      kinds: ['invention'],
    },
    {
      name: 'a record open to everybody that was not meant to be',
      story: pulled,
      seen: dump({ records: [recordOf(CREDENTIALS.NODE_WIDE, NOW + 4)] }),
      kinds: ['invention', 'access'],
    },
    {
      name: 'a secret without its hash',
      story: pulled,
      seen: dump({ records: [withoutHash(RECORD)] }),
      kinds: ['half', 'loss'],
    },
    {
      name: 'a rotated secret that was only presented',
      story: () => started(MATCH, pulled(), { credentials: ROTATED }),
      seen: dump({ records: [recordOf(ROTATED, NOW + 6)] }),
      kinds: [],
    },
    {
      name: 'a secret that matches nothing and was only presented',
      story: () => started(MATCH, pulled(), { credentials: SHARED }),
      seen: dump({ records: [recordOf(SHARED, NOW + 6)] }),
      kinds: ['loss'],
    },
    {
      name: 'a record that was pruned',
      story: () => pulled().did(PRUNE, { unlisted, timeMs: NOW + 900 }),
      seen: RECORD_THERE,
      kinds: ['revival'],
    },
    {
      name: 'a record that was too new to be pruned',
      story: () => pulled().did(PRUNE, { unlisted, timeMs: NOW + 1 }),
      seen: NOTHING,
      kinds: ['loss'],
    },
    {
      name: 'a record that a prune listed',
      story: () => pulled().did(PRUNE, { unlisted: unlisted + 1, timeMs: NOW + 900 }),
      seen: NOTHING,
      kinds: ['loss'],
    },
    {
      name: 'an intent that went before its record was there',
      story: () => started(PULLED, new Story().did(INTENT), { credentials: SECRET }),
      seen: NOTHING,
      kinds: ['order'],
    },
    {
      name: 'a record that was there before its intent went',
      story: () => started(PULLED, new Story().did(INTENT), { credentials: SECRET }),
      seen: dump({ intents: [imageOf(IMAGE)], records: [RECORD] }),
      kinds: [],
    },
    {
      name: 'a stranger refused for an intent that is gone',
      story: () => started(INTENT).looked(FOREIGN, ANSWER.REFUSED),
      seen: NOTHING,
      kinds: ['access'],
    },
    {
      name: 'a stranger refused for an intent that is there',
      story: () => started(INTENT).looked(FOREIGN, ANSWER.REFUSED),
      seen: INTENT_THERE,
      kinds: [],
    },
    {
      name: 'a stranger refused for an intent whose pull may have ended since',
      story: () => started(FAILED, started(INTENT).looked(FOREIGN, ANSWER.REFUSED)),
      seen: NOTHING,
      kinds: [],
    },
    {
      name: 'a stranger refused for a pull that may only have been counted any more',
      story: () => rejected(FAILED, new Story().did(INTENT)).looked(FOREIGN, ANSWER.REFUSED),
      seen: NOTHING,
      kinds: [],
    },
    {
      name: 'a stranger refused for a record that a prune may have taken since',
      story: () => started(PRUNE, refusedForRecord(), { unlisted, timeMs: NOW + 900 }),
      seen: NOTHING,
      kinds: [],
    },
    {
      name: 'a stranger refused for a record that a prune listed',
      story: () =>
        started(PRUNE, refusedForRecord(), { unlisted: unlisted + 1, timeMs: NOW + 900 }),
      seen: NOTHING,
      kinds: ['loss', 'access'],
    },
    {
      name: 'a tenant let in by a pull that nobody was told of, and that is gone',
      story: () => letInEarly(),
      seen: INTENT_THERE,
      kinds: ['loss'],
    },
    {
      name: 'a tenant let in by a pull that nobody was told of, and that is there',
      story: () => letInEarly(),
      seen: dump({ intents: [imageOf(IMAGE)], records: [recordOf(ACCOUNT, NOW + 4)] }),
      kinds: [],
    },
    {
      name: 'a foreign tenant that is let in',
      story: pulled,
      seen: { ...RECORD_THERE, answers: lettingIn(RECORD_THERE) },
      kinds: ['access'],
    },
    {
      name: 'a wrong counter',
      story: pulled,
      seen: { ...RECORD_THERE, counted: '1 intents, 1 records' },
      kinds: ['count'],
    },
  ];

  it.each(cases)('gives $kinds for $name', ({ story, seen, kinds }) => {
    expect(kindsAfter(story(), seen)).toEqual(kinds);
  });

  it('lets what was seen once never go again', () => {
    const model = new CrashModel();
    const end = { timeMs: NOW };
    model.follow(started(INTENT).events, undefined, undefined, end);
    expect(model.follow([stormEvent(EVENT.READY)], INTENT_THERE, undefined, end)).toEqual([]);
    const findings = model.follow([stormEvent(EVENT.READY)], NOTHING, undefined, end);
    expect(findings.map(({ kind }) => kind)).toEqual(['loss']);
  });
});

describe('under load', () => {
  it('finds a tenant who is let in by what nobody recorded', () => {
    const story = new Story().did(INTENT).looked(ACCOUNT, ANSWER.FOUND);
    const findings = new CrashModel().advance(story.events, undefined, undefined, { timeMs: NOW });
    expect(findings.map(({ kind }) => kind)).toEqual(['access']);
  });
});

describe('a crash at an unknown moment', () => {
  /** What may be there after a crash after the first pull and before the end of the rest. */
  function kindsWithin(rest: (story: Story) => Story, seen: Dump): string[] {
    const model = new CrashModel();
    const end = { timeMs: NOW + 1_000 };
    const { events: before } = pulled();
    const { events } = rest(pulled());
    model.advance(before, undefined, undefined, { ...end, events });
    model.openWindow();
    model.advance(events.slice(before.length), undefined, undefined, end);
    model.crash();
    const findings = model.follow([stormEvent(EVENT.READY)], seen, undefined, end);
    return findings.map(({ kind }) => kind);
  }

  const intent = (story: Story): Story => story.did(INTENT);
  const intentAndPrune = (story: Story): Story =>
    story.did(INTENT).did(PRUNE, { unlisted, timeMs: NOW + 900 });
  const intentAndRefusal = (story: Story): Story =>
    story.did(INTENT, OTHER).looked(FOREIGN, ANSWER.REFUSED, OTHER);
  const BOTH_THERE = dump({ intents: [imageOf(IMAGE)], records: [RECORD] });

  it.each([
    { name: 'the state at its beginning', rest: intentAndPrune, seen: RECORD_THERE, kinds: [] },
    { name: 'a state in between', rest: intentAndPrune, seen: BOTH_THERE, kinds: [] },
    { name: 'the state at its end', rest: intentAndPrune, seen: INTENT_THERE, kinds: [] },
    { name: 'a crash before a refusal', rest: intentAndRefusal, seen: RECORD_THERE, kinds: [] },
    { name: 'a loss from before', rest: intent, seen: INTENT_THERE, kinds: ['loss'] },
    {
      name: 'what never was',
      rest: intentAndPrune,
      seen: dump({ records: [recordOf(ANOTHERS, NOW + 4)] }),
      kinds: ['invention'],
    },
  ])('gives $kinds for $name', ({ rest, seen, kinds }) => {
    expect(kindsWithin(rest, seen)).toEqual(kinds);
  });
});

/** Left unanswered by the kill. */
function started(operation: number, story = new Story(), fields: Partial<StormEvent> = {}): Story {
  story.start(operation, fields);
  return story;
}

function refusedForRecord(): Story {
  return pulled().looked(FOREIGN, ANSWER.REFUSED);
}

/** The pull is not answered, the tenant is. */
function letInEarly(): Story {
  const story = started(PULLED, new Story().did(INTENT), { credentials: ACCOUNT });
  return story.looked(ACCOUNT, ANSWER.FOUND);
}

function rejected(operation: number, story = new Story()): Story {
  return story.reject(story.start(operation));
}

function withoutHash(record: ImagePulledRecord): ImagePulledRecord {
  const copy = structuredClone(record);
  const secret = copy.credentialMapping[imageNameOf(IMAGE)]!.kubernetesSecrets![0]!;
  Reflect.deleteProperty(secret, 'credentialHash');
  return copy;
}

/** The answers with the first refusal turned round. */
function lettingIn({ answers }: Dump): string[] {
  const at = answers.indexOf('true mustAuthenticate');
  return answers.with(at, 'false credentialRecordFound');
}
