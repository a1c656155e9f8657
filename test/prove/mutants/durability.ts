/**
 * Whether what a journal has acknowledged survives a power cut at that very moment. Prints one line of
 * JSON. The engine in this thread is cut off from what it did not flush, one with a worker from what
 * it has not written.
 */
import * as fs from 'node:fs';
import { join } from 'node:path';
import { PullManager } from '../../../src/pull-manager.ts';
import { Random } from '../../../src/util/random.ts';
import { cutPower, watchWrites } from './page-cache.ts';

export interface DurabilityOptions {
  readonly seed: number;
  readonly seconds: number;
  readonly directory: string;
}

export interface DurabilityResult {
  readonly cuts: number;
  readonly failure: string | undefined;
}

/** A power cut, and what had been acknowledged by then. */
interface Cut {
  readonly path: string;
  readonly images: readonly string[];
}

const CALLS = 24;
const CUT_SHARE = 0.15;

async function run({ seed, seconds, directory }: DurabilityOptions): Promise<DurabilityResult> {
  watchWrites();
  const endMs = performance.now() + seconds * 1_000;
  let cuts = 0;
  for (let round = 0; round === 0 || performance.now() < endMs; round++) {
    const scratch = fs.mkdtempSync(join(directory, 'durability-'));
    const made = await cutsOf(new Random(seed, round), scratch, round % 2);
    for (const cut of made) {
      cuts++;
      const lost = await lostIn(cut);
      if (lost !== undefined) return { cuts, failure: lost };
    }
    fs.rmSync(scratch, { recursive: true });
  }
  return { cuts, failure: undefined };
}

/** Intents and pulls on keys of their own, with the power cut as some of them are acknowledged. */
async function cutsOf(random: Random, directory: string, workerCount: number): Promise<Cut[]> {
  const path = join(directory, 'store');
  const manager = await PullManager.open({ store: { kind: 'journal', path }, workerCount });
  const acknowledged: string[] = [];
  const cuts: Cut[] = [];
  const call = async (index: number): Promise<void> => {
    const image = `registry.example.com/app${index}`;
    if (index % 2 === 0) await manager.recordPullIntent(image);
    else await manager.recordImagePulled(image, `sha256:${index}`, { nodePodsAccessible: true });
    acknowledged.push(image);
    if (random.share() >= CUT_SHARE) return;
    const copy = join(directory, `cut-${cuts.length}`);
    cutPower(path, copy);
    cuts.push({ path: copy, images: [...acknowledged] });
  };
  // Half of them one by one, so that each is a batch; the others together.
  const alone = CALLS / 2;
  for (let index = 0; index < alone; index++) await call(index);
  await Promise.all(Array.from({ length: CALLS - alone }, (_, index) => call(alone + index)));
  await manager.close();
  return cuts;
}

/** What was acknowledged and is not there; undefined: nothing. */
async function lostIn({ path, images }: Cut): Promise<string | undefined> {
  const manager = await PullManager.open({ store: { kind: 'journal', path }, workerCount: 0 });
  const intents = await manager.listImagePullIntents();
  const records = await manager.listImagePulledRecords();
  await manager.close();
  const found = new Set([
    ...intents.records.map(({ image }) => image),
    ...records.records.flatMap(({ credentialMapping }) => Object.keys(credentialMapping)),
  ]);
  const lost = images.find((image) => !found.has(image));
  return lost && `${lost} of ${images.length} was acknowledged and is lost`;
}

const result = await run(JSON.parse(process.argv[2]!) as DurabilityOptions);
process.stdout.write(`${JSON.stringify(result)}\n`, () => process.exit(0));
