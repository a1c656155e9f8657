import { describe, expect, it } from 'vitest';
import type { PullRecordsAccessor, RecordWrite } from '../../src/accessors/accessor.ts';
import type { ImagePulledRecord } from '../../src/records/record.ts';
import { accessorSuite, type TestBody } from '../../src/testing/index.ts';
import { Disk, encode, HonestStore, toRecord } from './honest-store.ts';

/** Runs the suite with a runner of its own; answers which laws failed, and which were skipped. */
async function runSuite(
  openOn: (disk: Disk) => PullRecordsAccessor,
): Promise<{ passed: string[]; failed: string[]; skipped: string[] }> {
  const tests = new Map<string, TestBody>();
  accessorSuite({
    name: 'planted',
    runner: {
      describe: (_name, declare) => declare(),
      it: (name, run) => void tests.set(name, run),
    },
    open: async () => {
      const disk = new Disk();
      let accessor = openOn(disk);
      return {
        accessor,
        reopen: async () => {
          await accessor.close();
          accessor = openOn(disk);
          return accessor;
        },
        corruptPulled: async (imageRef) => void disk.pulled.set(imageRef, '{'),
        corruptIntent: async (image) => void disk.intents.set(image, '{'),
      };
    },
    capabilities: { historyCount: 20, seed: 1, overlappingCommits: true, compactRecords: true },
  });
  const result = { passed: [] as string[], failed: [] as string[], skipped: [] as string[] };
  for (const [name, run] of tests) {
    let outcome: keyof typeof result = 'passed';
    try {
      await run({ skip: () => (outcome = 'skipped') });
    } catch {
      outcome = 'failed';
    }
    result[outcome].push(name);
  }
  return result;
}

/** Faults that stores have had or might have. */
const FAULTS: Record<string, new (disk: Disk) => PullRecordsAccessor> = {
  'loses the last write of a batch': class extends HonestStore {
    override commit(batch: readonly RecordWrite[]): Promise<void> {
      return super.commit(batch.length > 1 ? batch.slice(0, -1) : batch);
    }
  },
  'applies the deletions of a batch first': class extends HonestStore {
    override commit(batch: readonly RecordWrite[]): Promise<void> {
      return super.commit(batch.toSorted((a, b) => Number(isWrite(a)) - Number(isWrite(b))));
    }
  },
  'applies overlapping commits last come, first served': class extends HonestStore {
    readonly #waiting: (readonly RecordWrite[])[] = [];
    override async commit(batch: readonly RecordWrite[]): Promise<void> {
      this.assertOpen();
      this.#waiting.push(batch);
      await Promise.resolve();
      for (const write of this.#waiting.pop()!) this.apply(write);
    }
  },
  "returns another key's record": class extends HonestStore {
    override async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      return super.getImagePulledRecord(this.disk.pulled.has('b') ? 'b' : imageRef);
    }
  },
  'takes upper case for lower case': class extends HonestStore {
    override imagePullIntentExists(image: string): Promise<boolean> {
      return super.imagePullIntentExists(image.toLowerCase());
    }
  },
  'cuts long keys': class extends HonestStore {
    override apply(write: RecordWrite): void {
      super.apply('image' in write ? { ...write, image: write.image.slice(0, 4096) } : write);
    }
    override imagePullIntentExists(image: string): Promise<boolean> {
      return super.imagePullIntentExists(image.slice(0, 4096));
    }
  },
  'brings keys into a normal form of Unicode': class extends HonestStore {
    override apply(write: RecordWrite): void {
      super.apply('image' in write ? { ...write, image: write.image.normalize() } : write);
    }
  },
  'loses a mapping under __proto__': class extends HonestStore {
    override async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      const found = await super.getImagePulledRecord(imageRef);
      if (found === undefined) return undefined;
      const credentialMapping: ImagePulledRecord['credentialMapping'] = {};
      for (const [name, value] of Object.entries(found.credentialMapping)) {
        credentialMapping[name] = value;
      }
      return { ...found, credentialMapping };
    }
  },
  'reports a damaged record as absent': class extends HonestStore {
    override getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      return super.getImagePulledRecord(imageRef).catch(() => undefined);
    }
  },
  'reports a damaged intent as absent': class extends HonestStore {
    override imagePullIntentExists(image: string): Promise<boolean> {
      return super.imagePullIntentExists(image).catch(() => false);
    }
  },
  'lists no error for a damaged record': class extends HonestStore {
    override async listImagePulledRecords() {
      return { ...(await super.listImagePulledRecords()), errors: [] };
    }
  },
  'lists nothing because of one damaged record': class extends HonestStore {
    override async listImagePulledRecords() {
      const listing = await super.listImagePulledRecords();
      return listing.errors.length > 0 ? { ...listing, records: [] } : listing;
    }
  },
  'deletes keys that begin with the deleted one': class extends HonestStore {
    override apply(write: RecordWrite): void {
      super.apply(write);
      if (write.op !== 'deletePulled') return;
      for (const key of this.disk.pulled.keys()) {
        if (key.startsWith(write.imageRef)) this.disk.pulled.delete(key);
      }
    }
  },
  'deletes the record together with the intent': class extends HonestStore {
    override apply(write: RecordWrite): void {
      super.apply(write);
      if (write.op === 'deleteIntent') this.disk.pulled.delete(write.image);
    }
  },
  'fails to delete what is not there': class extends HonestStore {
    override apply(write: RecordWrite): void {
      const isAbsent = write.op === 'deleteIntent' && !this.disk.intents.has(write.image);
      if (isAbsent) throw new Error('no such intent');
      super.apply(write);
    }
  },
  'keeps the first record written': class extends HonestStore {
    override apply(write: RecordWrite): void {
      if (write.op === 'writePulled' && this.disk.pulled.has(write.record.imageRef)) return;
      super.apply(write);
    }
  },
  'keeps the object that it was given': class extends HonestStore {
    readonly #given = new Map<string, ImagePulledRecord>();
    override apply(write: RecordWrite): void {
      super.apply(write);
      if (write.op === 'writePulled') this.#given.set(write.record.imageRef, write.record);
      if (write.op === 'deletePulled') this.#given.delete(write.imageRef);
    }
    override async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      this.assertOpen();
      return this.#given.get(imageRef) ?? super.getImagePulledRecord(imageRef);
    }
  },
  'hands out the object that it keeps': class extends HonestStore {
    readonly #kept = new Map<string, ImagePulledRecord>();
    override apply(write: RecordWrite): void {
      super.apply(write);
      if (write.op === 'deletePulled') this.#kept.delete(write.imageRef);
      if (write.op !== 'writePulled') return;
      this.#kept.set(write.record.imageRef, toRecord(write.record.imageRef, encode(write.record)));
    }
    override async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      const found = await super.getImagePulledRecord(imageRef);
      return found && (this.#kept.get(imageRef) ?? found);
    }
  },
  'forgets everything when it is opened again': class extends HonestStore {
    constructor(disk: Disk) {
      super(disk);
      disk.intents.clear();
      disk.pulled.clear();
    }
  },
  'brings deleted intents back when it is opened again': class extends HonestStore {
    static readonly #deleted = new WeakMap<Disk, string[]>();
    readonly #list: string[];
    constructor(disk: Disk) {
      super(disk);
      const list = new.target.deletedFrom(disk);
      for (const image of list.splice(0)) disk.intents.set(image, '{}');
      this.#list = list;
    }
    static deletedFrom(disk: Disk): string[] {
      const found = this.#deleted.get(disk) ?? [];
      this.#deleted.set(disk, found);
      return found;
    }
    override apply(write: RecordWrite): void {
      super.apply(write);
      if (write.op === 'deleteIntent') this.#list.push(write.image);
    }
  },
  'answers after it was closed': class extends HonestStore {
    override assertOpen(): void {}
  },
  'takes writes after it was closed': class extends HonestStore {
    override async commit(batch: readonly RecordWrite[]): Promise<void> {
      for (const write of batch) this.apply(write);
    }
  },
  'does not close twice': class extends HonestStore {
    override async close(): Promise<void> {
      this.assertOpen();
      await super.close();
    }
  },
  'lists a deleted intent': class extends HonestStore {
    readonly #seen = new Set<string>();
    override apply(write: RecordWrite): void {
      super.apply(write);
      if (write.op === 'writeIntent') this.#seen.add(write.image);
    }
    override async listImagePullIntents() {
      this.assertOpen();
      return { records: Array.from(this.#seen, (image) => ({ image })), errors: [] };
    }
  },
  'lists no more than a thousand': class extends HonestStore {
    override async listImagePulledRecords() {
      const { records, errors } = await super.listImagePulledRecords();
      return { records: records.slice(0, 1000), errors };
    }
  },
  'keeps times to the second': class extends HonestStore {
    override async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      const found = await super.getImagePulledRecord(imageRef);
      if (found) found.lastUpdatedTime.setMilliseconds(0);
      return found;
    }
  },
  'loses service accounts': class extends HonestStore {
    override async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      const found = await super.getImagePulledRecord(imageRef);
      const mapping = found?.credentialMapping ?? {};
      for (const credentials of Object.values(mapping))
        delete credentials.kubernetesServiceAccounts;
      return found;
    }
  },
  'loses names without a proof': class extends HonestStore {
    override async getImagePulledRecord(imageRef: string): Promise<ImagePulledRecord | undefined> {
      const found = await super.getImagePulledRecord(imageRef);
      for (const [name, credentials] of Object.entries(found?.credentialMapping ?? {})) {
        if (Object.keys(credentials).length === 0) delete found!.credentialMapping[name];
      }
      return found;
    }
  },
};

function isWrite(write: RecordWrite): boolean {
  return write.op === 'writeIntent' || write.op === 'writePulled';
}

describe('the conformance suite', () => {
  it('passes a store that keeps the contract, and leaves out nothing', async () => {
    const { passed, failed, skipped } = await runSuite((disk) => new HonestStore(disk));
    expect({ failed, skipped }).toEqual({ failed: [], skipped: [] });
    expect(passed).toHaveLength(23);
  });

  it.each(Object.entries(FAULTS))('catches a store that %s', async (_name, Faulty) => {
    const { passed, failed } = await runSuite((disk) => new Faulty(disk));
    expect(failed).not.toEqual([]);
    // The fault, and not everything: the store as such works.
    expect(passed).not.toEqual([]);
  });

  it('leaves out what a store cannot show, and says so to a runner that can be told', async () => {
    const skipped: string[] = [];
    const tests: [string, TestBody][] = [];
    accessorSuite({
      name: 'plain',
      runner: {
        describe: (_name, declare) => declare(),
        it: (name, run) => void tests.push([name, run]),
      },
      open: async () => ({ accessor: new HonestStore(new Disk()) }),
      capabilities: { historyCount: 1 },
    });
    for (const [name, run] of tests) {
      await run();
      await run({ skip: () => skipped.push(name) });
      // As vitest has it: a function with methods.
      await run(Object.assign(() => {}, { skip: () => skipped.push(name) }));
    }
    expect(new Set(skipped).size).toBe(5);
    expect(skipped).toHaveLength(10);
  });

  it('disposes of every store, also of one that fails', async () => {
    let openCount = 0;
    let disposeCount = 0;
    const tests: TestBody[] = [];
    accessorSuite({
      name: 'failing',
      runner: { describe: (_name, declare) => declare(), it: (_name, run) => void tests.push(run) },
      open: async () => {
        openCount++;
        const Faulty = FAULTS['loses the last write of a batch']!;
        return {
          accessor: new Faulty(new Disk()),
          dispose: async () => {
            disposeCount++;
          },
        };
      },
      capabilities: { historyCount: 3 },
    });
    const outcomes = await Promise.allSettled(tests.map((run) => run()));
    expect(outcomes.some(({ status }) => status === 'rejected')).toBe(true);
    expect(disposeCount).toBe(openCount);
  });

  it('names the seed and the steps of a history that goes wrong, and repeats it', async () => {
    const messages: string[] = [];
    for (let round = 0; round < 2; round++) {
      const tests = new Map<string, TestBody>();
      accessorSuite({
        name: 'failing',
        runner: {
          describe: (_name, declare) => declare(),
          it: (name, run) => void tests.set(name, run),
        },
        open: async () => ({ accessor: new FAULTS['keeps the first record written']!(new Disk()) }),
        capabilities: { seed: 7 },
      });
      const run = tests.get('agrees with a model after any history')!;
      await run().catch((error: Error) => messages.push(error.message));
    }
    expect(messages[0]).toMatch(
      /^history \d+ of seed 7 goes wrong: the record of .* after step \d+/,
    );
    expect(messages[0]).toContain('writePulled(');
    expect(messages[1]).toBe(messages[0]);
  });
});
