import { accessorSuite } from '../../conformance/accessor-suite.ts';
import { openTemporary } from './kit.ts';

for (const mayBlock of [true, false]) {
  accessorSuite({
    name: `kubelet, mayBlock ${mayBlock}`,
    open: () => openTemporary({ context: { mayBlock } }),
    capabilities: {
      loneSurrogates: 'replaced',
      overlappingCommits: true,
      timeResolutionMs: 1000,
      timeMsMax: Date.UTC(10_000, 0) - 1,
      historyCount: 20,
    },
  });
}
