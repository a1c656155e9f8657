import { accessorSuite } from '../conformance/accessor-suite.ts';
import { openTemporaryStore, soleWorker } from './open-store.ts';

for (const durability of ['flush', 'write'] as const) {
  for (const mayBlock of [true, false]) {
    accessorSuite({
      name: `journal, durability ${durability}, mayBlock ${mayBlock}`,
      open: () =>
        openTemporaryStore(
          (path) => ({ kind: 'journal', path, durability }),
          soleWorker({ mayBlock }),
        ),
      capabilities: { overlappingCommits: true, historyCount: 20 },
    });
  }
}
