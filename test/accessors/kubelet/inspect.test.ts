import { mkdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import type { Inspectable, InspectedEntry } from '../../../src/accessors/inspection.ts';
import { codeOf, record } from '../../conformance/accessor-suite.ts';
import {
  foreignChange,
  type KubeletUnderTest,
  openTemporary,
  PlainKubelet,
  settled,
} from './kit.ts';

let store: KubeletUnderTest;
afterEach(() => store.dispose());

describe('looking through a kubelet store', () => {
  it('says of each file what it is, and takes bad ones aside for good', async () => {
    store = await openTemporary();
    await store.close();
    const { dir } = store;
    const kubelet = new PlainKubelet(dir);
    await kubelet.writeIntent('sound');
    await new PlainKubelet(dir, 'v1.34').writePulled(record('old'));
    await kubelet.writePulled(record('inner'));
    await rename(kubelet.pathOf('pulled', 'inner'), kubelet.pathOf('pulled', 'outer'));
    await writeFile(kubelet.pathOf('pulled', 'damaged'), '{"kind":1}');
    for (const name of ['orphan', 'half']) {
      await writeFile(`${kubelet.pathOf('pulling', name)}.tmp`, '{');
    }
    // The other one may be a kubelet's that is just writing it.
    const longAgo = Date.now() / 1000 - 120;
    await utimes(`${kubelet.pathOf('pulling', 'orphan')}.tmp`, longAgo, longAgo);
    await writeFile(join(dir, 'pulled', 'README'), 'not ours');
    const accessor = inspectable(await store.reopen({ compatibility: 'v1.35' }));
    await accessor.writeImagePullIntent('new');
    const entries = await inspected(accessor);
    const byVerdict = (verdict: string): unknown[] =>
      entries
        .filter((entry) => entry.verdict === verdict)
        .map(({ kind, location, key }) => [kind, location, key]);
    expect(byVerdict('valid')).toEqual(
      expect.arrayContaining([
        ['intent', kubelet.pathOf('pulling', 'sound'), 'sound'],
        ['intent', kubelet.pathOf('pulling', 'new'), 'new'],
        ['pulled', kubelet.pathOf('pulled', 'old'), 'old'],
      ]),
    );
    expect(byVerdict('misfiled')).toEqual([['pulled', kubelet.pathOf('pulled', 'outer'), 'inner']]);
    expect(byVerdict('undecodable')).toEqual([
      ['pulled', kubelet.pathOf('pulled', 'damaged'), undefined],
    ]);
    expect(byVerdict('orphan')).toEqual([
      ['intent', `${kubelet.pathOf('pulling', 'orphan')}.tmp`, undefined],
    ]);
    expect(entries.map(({ location }) => location)).toEqual(
      entries.map(({ location }) => location).sort(),
    );
    const bad = entries.filter(({ verdict }) => verdict !== 'valid');
    for (const entry of bad) {
      const bytes = await readFile(entry.location);
      const place = (await accessor.quarantine(entry))!;
      expect(place).toContain(join(dir, '.pullwarden', 'quarantine'));
      expect(await readFile(place)).toEqual(bytes);
      await expect(stat(entry.location)).rejects.toThrow('ENOENT');
    }
    expect(await accessor.getImagePulledRecord('damaged')).toBeUndefined();
    expect(await accessor.getImagePulledRecord('inner')).toBeUndefined();
    expect((await inspected(accessor)).every(({ verdict }) => verdict === 'valid')).toBe(true);
    await store.reopen();
    expect((await (await store.reopen()).listImagePulledRecords()).errors).toEqual([]);
  });

  it('keeps both where two files of one name come to quarantine, and takes nothing from elsewhere', async () => {
    store = await openTemporary();
    const accessor = inspectable(store.accessor);
    const path = new PlainKubelet(store.dir).pathOf('pulled', 'damaged');
    const places: string[] = [];
    for (const content of ['first', 'second']) {
      await writeFile(path, content);
      const [entry] = await inspected(accessor);
      places.push((await accessor.quarantine(entry!))!);
    }
    expect(await Promise.all(places.map((place) => readFile(place, 'utf8')))).toEqual([
      'first',
      'second',
    ]);
    await mkdir(join(store.dir, 'elsewhere'));
    const outside: InspectedEntry = {
      kind: 'pulled',
      verdict: 'undecodable',
      location: join(store.dir, 'elsewhere', 'sha256-x'),
    };
    expect(await codeOf(() => accessor.quarantine(outside))).toBe(
      'ERR_PULLMANAGER_INVALID_ARGUMENT',
    );
  });
});

describe('a bad file that was replaced by a good one since it was looked at', () => {
  it.each(['a kubelet', 'a new proof of ours'])('stays, where it was by %s', async (whose) => {
    store = await openTemporary();
    const accessor = inspectable(store.accessor);
    const kubelet = new PlainKubelet(store.dir);
    await writeFile(kubelet.pathOf('pulled', 'ref'), 'damaged');
    await foreignChange(accessor);
    const [entry] = await inspected(accessor);
    if (whose === 'a kubelet') await kubelet.writePulled(record('ref'));
    else {
      await accessor.writeImagePulledRecord(record('ref'));
      await settled(accessor);
    }
    expect(await accessor.quarantine(entry!)).toBeUndefined();
    expect(await kubelet.read('pulled', 'ref')).toContain('ImagePulledRecord');
    expect(await accessor.getImagePulledRecord('ref')).toBeDefined();
  });
});

function inspectable(accessor: OwnedAccessor): OwnedAccessor & Inspectable {
  return accessor as OwnedAccessor & Inspectable;
}

async function inspected(accessor: Inspectable): Promise<InspectedEntry[]> {
  const entries: InspectedEntry[] = [];
  for await (const entry of accessor.inspect()) entries.push(entry);
  return entries;
}
