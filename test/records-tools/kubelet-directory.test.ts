/** What the tools do on a kubelet's own directory, below the command line. */
import { rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { beforeEach, describe, expect, it } from 'vitest';
import type { Finding } from '../../src/accessors/inspection.ts';
import { PulledRecord } from '../../src/records/record.ts';
import { type ImportResult, importRecords } from '../../src/records-tools/import-records.ts';
import { itemsOf, type Problem, type TransferItem } from '../../src/records-tools/items.ts';
import { type RecordsReader, withReader, withWriter } from '../../src/records-tools/open-store.ts';
import { planPrune, prune } from '../../src/records-tools/prune.ts';
import type { StoreChoice } from '../../src/records-tools/store-choice.ts';
import { verifyStore } from '../../src/records-tools/verify.ts';
import { openAt, PlainKubelet } from '../accessors/kubelet/kit.ts';
import { temporaryDirectory } from '../accessors/open-store.ts';
import { record } from '../conformance/accessor-suite.ts';

let dir: string;
let choice: StoreChoice;
let kubelet: PlainKubelet;

beforeEach(async () => {
  dir = join(await temporaryDirectory(), 'image_manager');
  choice = { options: { kind: 'kubelet', dir }, label: `kubelet:${dir}`, compatibility: 'v1.35' };
  kubelet = new PlainKubelet(dir);
});

const signal = new AbortController().signal;

describe('a record under the name of another', () => {
  beforeEach(async () => {
    await kubelet.writePulled(record('victim', { name: { nodePodsAccessible: true } }));
    await rename(kubelet.pathOf('pulled', 'victim'), kubelet.pathOf('pulled', 'elsewhere'));
    await kubelet.writeIntent('begun');
    await rename(kubelet.pathOf('pulling', 'begun'), kubelet.pathOf('pulling', 'elsewhere'));
    await kubelet.writePulled(record('sound'));
  });

  const moved = ['damaged', 'pulled sound', 'damaged'];

  it('is damaged when it is moved, however the store was opened, and named once', async () => {
    expect(await withReader(choice, kindsOf)).toEqual(moved);
    // An opened store lists it as the reference does.
    expect(await withWriter(choice, false, kindsOf)).toEqual(moved);
  });

  it('becomes none of another store', async () => {
    const target: StoreChoice = {
      options: { kind: 'journal', path: join(dir, '..', 'journal') },
      label: '',
      compatibility: 'v1.35',
    };
    const { result } = await importInto(target, (work) =>
      withReader(choice, (reader) => work(itemsOf(reader))),
    );
    expect(result).toMatchObject({ damaged: 2, records: { added: 1 }, intents: { added: 0 } });
    expect(await withReader(target, kindsOf)).toEqual(['pulled sound']);
  });

  it('stays when others are pruned, and is an error', async () => {
    const untilMs = Date.now() + 60_000;
    await withWriter(choice, false, async (accessor) => {
      const plan = await planPrune(accessor, new Set(), untilMs);
      expect(plan).toMatchObject({ prunable: ['sound'], kept: 0 });
      expect(plan.errors).toHaveLength(1);
    });
  });
});

describe('pruning a kubelet directory', () => {
  const second = Date.parse('2026-01-01T00:00:00Z');

  it('leaves what may have been written after the cut-off, in the same second [W12]', async () => {
    const given = [
      new PulledRecord('before', second - 1000, []),
      new PulledRecord('after', second + 700, []),
    ];
    for (const one of given) await kubelet.writePulled(one);
    const plan = (reader: RecordsReader) => planPrune(reader, new Set(), second + 500);
    for (const open of [
      withReader,
      <T>(c: StoreChoice, w: (r: RecordsReader) => Promise<T>) => withWriter(c, false, w),
    ]) {
      expect(await open(choice, plan)).toMatchObject({ prunable: ['before'], kept: 1 });
    }
  });

  it('is no success where a file could not be removed', async () => {
    await kubelet.writePulled(new PulledRecord('ref', second, []));
    const pulled = join(dir, 'pulled');
    const pruned = withWriter(choice, false, async (accessor) => {
      const plan = await planPrune(accessor, new Set(), second + 2000);
      await rename(pulled, `${pulled}.aside`);
      await writeFile(pulled, '');
      await prune(accessor, plan, async () => {}, signal);
    });
    await expect(pruned).rejects.toMatchObject({ code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' });
    await rm(pulled);
    await rename(`${pulled}.aside`, pulled);
    expect(await kubelet.names('pulled')).toHaveLength(1);
    await (await openAt(dir)).close();
    expect(await kubelet.names('pulled')).toEqual([]);
  });
});

describe('importing into a kubelet directory', () => {
  async function* items(): AsyncGenerator<TransferItem> {
    yield { kind: 'intent', image: 'image' };
    yield { kind: 'pulled', record: PulledRecord.from(record('ref')) };
  }

  it('is no success where the files could not be written, and names them', async () => {
    await (await openAt(dir)).close();
    const error = await importInto(choice, (work) => work(items()), hinder).then(
      () => undefined,
      (cause: Error) => cause,
    );
    expect(error).toMatchObject({ code: 'ERR_PULLMANAGER_STORE_UNAVAILABLE' });
    expect(error?.message).toContain('"image"');
    expect(error?.message).toContain('"ref"');
    expect(await kubelet.names('pulled')).toEqual([]);
    // It was done nevertheless.
    expect(await withReader(choice, kindsOf)).toEqual(['intent image', 'pulled ref']);
    await rm(join(dir, '.pullwarden', 'tmp'));
    await (await openAt(dir)).close();
    expect(await kubelet.names('pulled')).toHaveLength(1);
  });
});

describe('repairing a kubelet directory', () => {
  it('passes over what was replaced meanwhile, and says so', async () => {
    for (const key of ['first', 'second']) {
      await kubelet.writePulled(record(key));
      await writeFile(kubelet.pathOf('pulled', key), 'damaged', { mode: 0o600 });
    }
    const findings: Finding[] = [];
    // The other one is proven anew by the kubelet while the tool has moved but one of them.
    const onFinding = async (finding: Finding): Promise<void> => {
      findings.push(finding);
      const isFirst = finding.location === kubelet.pathOf('pulled', 'first');
      await kubelet.writePulled(record(isFirst ? 'second' : 'first'));
    };
    const result = await verifyStore(choice, {
      repairs: true,
      acceptsPreloaded: true,
      onFinding,
      signal,
    });
    expect(findings).toHaveLength(1);
    expect(findings[0]?.quarantinedTo).toContain('quarantine');
    expect(result).toMatchObject({ quarantined: 1, passed: true, counts: { undecodable: 1 } });
    expect(result.remarks).toHaveLength(1);
    expect(await kubelet.names('pulled')).toHaveLength(1);
  });
});

/** Has every new file fail. */
async function hinder(): Promise<void> {
  const path = join(dir, '.pullwarden', 'tmp');
  await rm(path, { recursive: true, force: true });
  await writeFile(path, '');
}

async function importInto(
  target: StoreChoice,
  withItems: (
    work: (items: AsyncIterable<TransferItem>) => Promise<ImportResult>,
  ) => Promise<ImportResult>,
  before: () => Promise<void> = async () => {},
): Promise<{ result: ImportResult; problems: readonly Problem[] }> {
  const problems: Problem[] = [];
  const onProblem = (problem: Problem): void => void problems.push(problem);
  const result = await withItems((items) =>
    withWriter(target, true, async (accessor) => {
      await before();
      const options = {
        onConflict: 'merge',
        losses: () => [],
        onLosses: () => {},
        onProgress: () => {},
      } as const;
      return importRecords(items, accessor, { ...options, onProblem, signal });
    }),
  );
  return { result, problems };
}

async function kindsOf(reader: RecordsReader): Promise<string[]> {
  const kinds: string[] = [];
  for await (const item of itemsOf(reader)) {
    if (item.kind === 'damaged') kinds.push(item.kind);
    else kinds.push(`${item.kind} ${item.kind === 'intent' ? item.image : item.record.imageRef}`);
  }
  return kinds;
}
