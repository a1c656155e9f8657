/** Simulations in a process of their own. */
import { type Broken, runChild } from '../common/child-process.ts';
import type { SimulationOptions, SimulationResult } from './simulate.ts';

/** Simulates with the code of a compiled tree. */
export function simulateInChild(
  tree: string,
  options: SimulationOptions,
): Promise<SimulationResult | Broken> {
  const here = 'test/prove/simulation';
  return runChild({ tree, file: `${here}/child`, preload: `${here}/clock` }, options);
}
