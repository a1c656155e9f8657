/** Runs a load through a time without a free descriptor, and prints the report. Started by `disks.ts`. */
import { closeSync, openSync } from 'node:fs';
import { storeOptions } from '../../../src/accessors/store-location.ts';
import type { StoreKind } from './lane.ts';
import { loadThrough } from './load.ts';

const [store, path] = process.argv.slice(2);
if (path === undefined) throw new Error('usage: few-descriptors STORE PATH');

const taken: number[] = [];

/** Takes all that there are. */
function exhaust(): void {
  for (;;) {
    try {
      taken.push(openSync('/dev/null', 'r'));
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'EMFILE') return;
      throw error;
    }
  }
}

const report = await loadThrough({
  store: storeOptions(store as StoreKind, path),
  breakIt: exhaust,
  mendIt: () => {
    for (const fd of taken) closeSync(fd);
  },
});
process.stdout.write(JSON.stringify(report));
