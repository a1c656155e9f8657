/**
 * Pulls images on an lmdb store while calls of lmdb's own fail, and says on stdout what it begins and
 * what came of it: the process may be ended at any time. Started by `lmdb.ts`.
 */
import { writeSync } from 'node:fs';
import { PullManager } from '../../../src/index.ts';
import type { ModelOperation } from '../../support/pull-model.ts';
import { Oracle } from './oracle.ts';
import { Witness } from './witness.ts';

export type LmdbWrite = ModelOperation & { readonly image: string };

/** What a life that got to its end has found. */
export interface LmdbEnd {
  readonly problems: readonly string[];
  readonly refused: number;
}

/** One line of the output. */
export type LmdbLine =
  | { readonly begun: LmdbWrite }
  | { readonly outcome: 'acknowledged' | 'uncertain' }
  | LmdbEnd;

const IMAGES = 12;
const OPENINGS_MAX = 5;
const GUARD_MS = 60_000;

const [path] = process.argv.slice(2);
if (path !== undefined) await main(path);

function say(line: LmdbLine): void {
  writeSync(1, `${JSON.stringify(line)}\n`);
}

async function main(store: string): Promise<void> {
  const oracle = new Oracle();
  // Which call fails is not known here, so errors are answers throughout.
  const witness = new Witness({ isFailing: true, hits: 0 }, GUARD_MS);
  let engine = await open(store, witness);
  const write = async (operation: LmdbWrite, call: () => Promise<void>): Promise<boolean> => {
    say({ begun: operation });
    const { isAnswered } = await witness.ask(operation.op, call);
    if (isAnswered) oracle.acknowledged(operation);
    else oracle.uncertain(operation);
    say({ outcome: isAnswered ? 'acknowledged' : 'uncertain' });
    return isAnswered;
  };
  for (let i = 0; i < IMAGES; i++) {
    const image = `registry.test/g${i}/app:1`;
    const imageRef = `sha256:0/g${i}/1`;
    const { refusals } = witness;
    const secret = { uid: `${i}`, namespace: 'team', name: `s${i}`, credentialHash: `s${i}` };
    const credentials = { kubernetesSecrets: [secret] };
    const isBegun = await write({ op: 'intent', image }, () => engine.recordPullIntent(image));
    if (isBegun) {
      await write({ op: 'pulled', image, imageRef, credentials }, () =>
        engine.recordImagePulled(image, imageRef, credentials),
      );
    }
    for (const secrets of [[secret], [{ ...secret, uid: 'x', credentialHash: 'x' }]]) {
      const decided = await engine.decide(image, imageRef, { secrets });
      if (witness.isRefusal(decided)) continue;
      witness.report(oracle.decided({ image, imageRef, credentials: { secrets } }, decided));
    }
    if (witness.refusals === refusals) continue;
    // After a commit that failed nothing is believed until the store is opened anew.
    await witness.ask('close', () => engine.close());
    engine = await open(store, witness);
    oracle.restarted();
  }
  await witness.ask('close', () => engine.close());
  say({ problems: witness.problems, refused: witness.refusals });
}

async function open(store: string, witness: Witness): Promise<PullManager> {
  for (let attempt = 0; attempt < OPENINGS_MAX; attempt++) {
    const opened = await witness.ask('open', () =>
      PullManager.open({ store: { kind: 'lmdb', path: store }, workerCount: 0 }),
    );
    if (opened.isAnswered) return opened.answer;
  }
  throw new Error('the store does not open');
}
