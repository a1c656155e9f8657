import { mkdir, readFile, rename, stat, utimes, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { afterEach, describe, expect, it } from 'vitest';
import type { OwnedAccessor } from '../../../src/accessors/accessor.ts';
import type { Finding, Inspectable } from '../../../src/accessors/inspection.ts';
import { codeOf, record } from '../../conformance/accessor-suite.ts';
import {
  foreignChange,
  type KubeletUnderTest,
  openTemporary,
  PlainKubelet,
  settled,
} from './kit.ts';

const LONG_AGO = new Date('2026-01-01T00:00:00Z');

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
    const orphan = `${kubelet.pathOf('pulling', 'orphan')}.tmp`;
    await writeFile(orphan, '{');
    await utimes(orphan, LONG_AGO, LONG_AGO);
    await writeFile(`${kubelet.pathOf('pulled', 'being-written')}.tmp`, '{');
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
      const place = (await accessor.quarantine?.(entry)) ?? 'nowhere';
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
      places.push((await accessor.quarantine?.(entry!)) ?? 'nowhere');
    }
    expect(await Promise.all(places.map((place) => readFile(place, 'utf8')))).toEqual([
      'first',
      'second',
    ]);
    await mkdir(join(store.dir, 'elsewhere'));
    const outside: Finding = {
      kind: 'pulled',
      verdict: 'undecodable',
      location: join(store.dir, 'elsewhere', 'sha256-x'),
    };
    expect(await codeOf(() => accessor.quarantine?.(outside))).toBe(
      'ERR_PULLMANAGER_INVALID_ARGUMENT',
    );
  });

  it('leaves a file that was proven anew since it was found bad, by whomever', async () => {
    store = await openTemporary();
    const accessor = inspectable(store.accessor);
    const kubelet = new PlainKubelet(store.dir);
    const provers = {
      theirs: () => kubelet.writePulled(record('theirs')),
      ours: async () => {
        await store.accessor.writeImagePulledRecord(record('ours'));
        await settled(store.accessor);
      },
    };
    for (const [key, prove] of Object.entries(provers)) {
      const path = kubelet.pathOf('pulled', key);
      await writeFile(path, 'damaged', { mode: 0o600 });
      await foreignChange(store.accessor);
      const bad = (await inspected(accessor)).find(({ location }) => location === path);
      expect(bad).toMatchObject({ verdict: 'undecodable' });
      await prove();
      expect(await accessor.quarantine?.(bad!)).toBeUndefined();
      expect(await store.accessor.getImagePulledRecord(key)).toMatchObject({ imageRef: key });
    }
  });

  it('leaves a temporary file that its writer goes on with, and one that is gone', async () => {
    store = await openTemporary();
    const accessor = inspectable(store.accessor);
    const kubelet = new PlainKubelet(store.dir);
    const orphan = `${kubelet.pathOf('pulled', 'orphan')}.tmp`;
    await writeFile(orphan, '{');
    await utimes(orphan, LONG_AGO, LONG_AGO);
    const [found] = await inspected(accessor);
    expect(found).toMatchObject({ verdict: 'orphan', location: orphan });
    await writeFile(orphan, '{"kind"');
    expect(await accessor.quarantine?.(found!)).toBeUndefined();
    expect(await readFile(orphan, 'utf8')).toBe('{"kind"');
    await rename(orphan, kubelet.pathOf('pulled', 'elsewhere'));
    expect(await accessor.quarantine?.(found!)).toBeUndefined();
  });
});

function inspectable(accessor: OwnedAccessor): OwnedAccessor & Required<Inspectable> {
  return accessor as OwnedAccessor & Required<Inspectable>;
}

async function inspected(accessor: Inspectable): Promise<Finding[]> {
  const entries: Finding[] = [];
  for await (const entry of accessor.inspect()) entries.push(entry);
  return entries;
}
