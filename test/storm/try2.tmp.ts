import { ConcurrentModel } from './concurrent-model.ts';
import { runStorm, policyOf } from '../../src/storm/run.ts';
import { Universe } from '../../src/storm/universe.ts';
import { readImageList } from '../../src/storm/image-list.ts';
import { loadScenario } from '../../src/storm/scenarios.ts';
import { Ledger } from '../../src/storm/ledger.ts';
const images = readImageList().slice(0, 60);
const log = new Map<number, string[]>();
const note = (ref: number, text: string) => { let l = log.get(ref); if (!l) log.set(ref, l = []); l.push(text); if (l.length > 14) l.shift(); };
const P = Ledger.prototype as any;
for (const name of ['beginPull','endPull','beginLearning','endLearning']) {
  const old = P[name];
  P[name] = function (...args: any[]) {
    const r0 = old.apply(this, args);
    const ref = name === 'beginPull' ? this.universe.refOfImage[args[0]] : name === 'endPull' ? args[0].ref : name === 'beginLearning' ? args[0] : args[0].ref;
    const rec = this.records[ref];
    note(ref, `${this.clock} ${Date.now()} ${name} ${name==='beginPull' ? `img ${args[0]} t${args[1]?.tenant} v${args[1]?.version} change=${r0.isChange} w=${JSON.stringify(r0.writes)}` : name==='beginLearning'? JSON.stringify(args[2]) : name==='endLearning' ? args[1] : ''} pend=${rec.pendingWrites} from=${rec.updatedFromMs}`);
    return r0;
  };
}
const oldPrune = P.endPrune; P.endPrune = function (p: any) { for (const r of p.removals) note(r.ref, `${this.clock} ${Date.now()} endPrune maybe=${r.write.isMaybe}`); return oldPrune.call(this, p); };
const oldR = P.restart; P.restart = function (...a: any[]) { for (let r = 0; r < this.records.length; r++) note(r, 'restart'); return oldR.apply(this, a); };
for (let seed = 1; seed < 400; seed++) {
  log.clear();
  const parameters = { ...loadScenario(['gc','node-restart'][seed % 2]!).parameters, duration: undefined, operations: 20_000, tenants: 40, rotateEvery: 50, seed, prunings: 12, prunedShare: 0.3, restarts: 0 };
  const disk = { model: undefined };
  const universe = new Universe(images, parameters);
  const run = await runStorm({ parameters, images, isDurable: true, open: async (l) => new ConcurrentModel({ seed, policy: policyOf(parameters.policy, universe), disk, images: l }) });
  const s = run.state;
  if (s.problems.length) {
    console.log(seed, s.problems);
    for (const p of s.problems) { const id = /sha256:\w+/.exec(p)![0]; const ref = s.universe.refs.indexOf(id); console.log(log.get(ref)?.join('\n'), s.ledger.records[ref]); const m: any = (disk as any).model; console.log(m.apply({op:'get', imageRef: id}).record?.lastUpdatedTime.getTime()); }
    break;
  }
  run.close();
}
