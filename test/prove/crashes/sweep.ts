/**
 * What a store holds right after it was opened, with the answers that it then gives to tenants; and
 * what those answers have to be.
 */

import type { PullManager } from '../../../src/pull-manager.ts';
import type {
  ImagePullCredentials,
  ImagePulledRecord,
  PodCredentials,
} from '../../../src/records/record.ts';
import {
  foreignCredentials,
  IMAGE_COUNT,
  imageNameOf,
  imageOf,
  mayBeNodeWide,
  refOf,
  refsOf,
} from './universe.ts';

/** The content of a store and its answers, as JSON. */
export interface Dump {
  readonly intents: readonly string[];
  readonly records: readonly ImagePulledRecord[];
  /** How much there is, by the engine's own counters. */
  readonly counted: string;
  /** `mustPull` and reason of each question, in the order of `questionsOf`. */
  readonly answers: readonly string[];
}

interface Question {
  readonly image: number;
  readonly imageRef: string;
  readonly credentials: PodCredentials;
  readonly isForeign: boolean;
}

/** Lists everything and asks for everybody. */
export async function dumpOf(manager: PullManager): Promise<Dump> {
  const intents = await manager.listImagePullIntents();
  const records = await manager.listImagePulledRecords();
  for (const error of [...intents.errors, ...records.errors]) throw error;
  const { intents: intentCount, records: recordCount } = manager.stats();
  const questions = questionsOf(records.records);
  const decisions = await manager.decideBatch(
    questions.map(({ image, imageRef, credentials }) => ({
      image: imageOf(image),
      imageRef,
      credentials,
    })),
  );
  return {
    intents: intents.records.map(({ image }) => image),
    records: records.records,
    counted: `${intentCount} intents, ${recordCount} records`,
    answers: decisions.map(({ mustPull, reason }) => `${mustPull} ${reason}`),
  };
}

/**
 * What is wrong with the answers of a dump, given its content.
 *
 * @param mayRefuse Whether an engine that counts pulls in flight may answer "must pull" instead.
 */
export function wrongAnswers(dump: Dump, mayRefuse: boolean): string[] {
  const questions = questionsOf(dump.records);
  const expected = rightAnswers(dump);
  if (questions.length !== dump.answers.length) return ['not every question was answered'];
  const wrong: string[] = [];
  questions.forEach(({ image, imageRef, credentials, isForeign }, i) => {
    const answer = dump.answers[i]!;
    const isLetIn = isForeign && answer === 'false credentialRecordFound' && !mayBeNodeWide(image);
    if (answer === expected[i] && !isLetIn) return;
    if (mayRefuse && answer === 'true mustAuthenticate') return;
    const who = isForeign ? 'a foreign tenant' : 'a tenant';
    const asked = `${imageOf(image)} ${imageRef} ${JSON.stringify(credentials)}`;
    wrong.push(`${who} got '${answer}', not '${expected[i]}': ${asked}`);
  });
  return wrong;
}

/** The answers that a store of this content has to give. */
export function rightAnswers(content: Pick<Dump, 'intents' | 'records'>): string[] {
  const intents = new Set(content.intents);
  const records = new Map(content.records.map((record) => [record.imageRef, record]));
  return questionsOf(content.records).map((it) => expectedAnswer(it, intents, records));
}

/** Every image for tenants without access; every name of a record for the first that has it. */
function questionsOf(records: readonly ImagePulledRecord[]): Question[] {
  const questions: Question[] = [];
  for (let image = 0; image < IMAGE_COUNT; image++) {
    const foreign = foreignCredentials(image);
    refsOf(image).forEach((ref, i) => {
      const credentials = foreign[(image + i) % foreign.length]!;
      questions.push({ image, imageRef: refOf(ref), credentials, isForeign: true });
    });
  }
  for (const { imageRef, credentialMapping } of records) {
    for (const [name, proofs] of Object.entries(credentialMapping)) {
      const image = imageWithName(name);
      if (image === undefined) continue;
      const [secret] = proofs.kubernetesSecrets ?? [];
      const [account] = proofs.kubernetesServiceAccounts ?? [];
      const both: PodCredentials[] = [];
      if (secret !== undefined) both.push({ secrets: [secret] });
      if (account !== undefined) both.push({ serviceAccount: account });
      for (const credentials of both)
        questions.push({ image, imageRef, credentials, isForeign: false });
    }
  }
  return questions;
}

/** The decision under the default policy, for credentials that match exactly or not at all. */
function expectedAnswer(
  { image, imageRef, credentials }: Question,
  intents: ReadonlySet<string>,
  records: ReadonlyMap<string, ImagePulledRecord>,
): string {
  const record = records.get(imageRef);
  if (record === undefined && !intents.has(imageOf(image))) return 'false credentialPolicyAllowed';
  const proofs = record?.credentialMapping[imageNameOf(image)];
  return proofs !== undefined && opens(proofs, credentials)
    ? 'false credentialRecordFound'
    : 'true mustAuthenticate';
}

function opens(proofs: ImagePullCredentials, presented: PodCredentials): boolean {
  if (proofs.nodePodsAccessible === true) return true;
  for (const { uid, namespace, name, credentialHash } of presented.secrets ?? []) {
    for (const known of proofs.kubernetesSecrets ?? []) {
      if (known.credentialHash !== '' && known.credentialHash === credentialHash) return true;
      if (known.uid === uid && known.namespace === namespace && known.name === name) return true;
    }
  }
  const account = presented.serviceAccount;
  return (
    proofs.kubernetesServiceAccounts?.some(
      ({ uid, namespace, name }) =>
        account?.uid === uid && account.namespace === namespace && account.name === name,
    ) === true
  );
}

let imagesByName: Map<string, number> | undefined;

function imageWithName(name: string): number | undefined {
  if (imagesByName === undefined) {
    imagesByName = new Map();
    for (let image = 0; image < IMAGE_COUNT; image++) imagesByName.set(imageNameOf(image), image);
  }
  return imagesByName.get(name);
}
