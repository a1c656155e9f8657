import { ConcurrentModel, type Bug } from '/work/main/test/storm/concurrent-model.ts';
import { runStorm } from '/work/main/src/storm/run.ts';
import { readImageList } from '/work/main/src/storm/image-list.ts';
import { loadScenario } from '/work/main/src/storm/scenarios.ts';
const images = readImageList().slice(0, Number(process.env.IMAGES ?? 60));
const run = async (seed: number, bug: Bug | undefined, scenario: string, extra = {}) => {
  const parameters = { ...loadScenario(scenario).parameters, duration: undefined, operations: 20_000, tenants: 40, rotateEvery: 50, rolloutEvery: 40, seed, prunings: 12, prunedShare: 0.3, restarts: 3, ...extra };
  const disk = { model: undefined };
  return runStorm({ parameters, images, isDurable: true, open: async (listed) => new ConcurrentModel({ seed, policy: (await import('/work/main/src/storm/run.ts')).policyOf(parameters.policy, new (await import('/work/main/src/storm/universe.ts')).Universe(images, parameters)), bug, disk, images: listed }) });
};
const bugs = process.argv[2] === 'none' ? [undefined] : ['stale','intentFirst','lostPull','noCounter','noLearning','noCutOff','pruneListed','wrongTenant','dropAccounts','lostIntents','keptCounters','flicker'] as Bug[];
for (const bug of bugs) {
  const seeds = bug === undefined ? Number(process.argv[3] ?? 30) : 3;
  for (let seed = 1; seed <= seeds; seed++) {
    const scenario = ['mixed','rollout','credential-rotation','gc','node-restart'][seed % 5]!;
    const policy = ['NeverVerifyPreloadedImages','AlwaysVerify','NeverVerifyPreloadedImages','NeverVerifyAllowlistedImages','NeverVerifyPreloadedImages'][seed % 5];
    try {
      const { state, elapsedMs, close } = await run(seed, bug, scenario, bug === 'flicker' ? {restarts:0,prunings:0,images} : bug ? {} : { policy });
      const { counts } = state;
      console.log(bug, seed, scenario, Math.round(elapsedMs), JSON.stringify(counts), [...state.errorCodes]);
      if (bug === undefined) for (const w of state.wrong.slice(0, 2)) console.log(w);
      if (bug === undefined) for (const w of state.problems.slice(0, 3)) console.log(w);
      close();
    } catch (e) { console.log(bug, seed, scenario, 'REJECTED', e); }
  }
}
