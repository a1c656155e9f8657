/** Brings an engine to the state that it had when the recording of a trace began. */

import type { StateLine, TracedCredentials } from '../../trace/format.ts';
import type { Trace } from '../../trace/read-trace.ts';
import type { Credential } from '../tenants.ts';
import { ReplayPulls } from './replay-pulls.ts';
import type { ReplayContext } from './replay-state.ts';
import { isOneProof } from './trace-credentials.ts';

/** Writes under way at the same time. */
export const FILLERS = 256;

/**
 * Writes the records and intents that a trace begins with.
 *
 * @returns How many of them cannot be written: see `Replay.unplayableCount`.
 */
export async function fillFromTrace(trace: Trace, context: ReplayContext): Promise<number> {
  const { universe, state } = context;
  const pulls = new ReplayPulls(context);
  let left = 0;
  const work: (() => Promise<unknown>)[] = [];
  for (const line of trace.state) {
    if (line.op === 'leftOver' && universe.imagesOf(line.image).length > 0) {
      work.push(() => pulls.intent(line.image, performance.now()));
      continue;
    }
    const proofs = line.op === 'record' ? proofsOf(trace, context, line) : undefined;
    if (line.op === 'leftOver' || proofs === undefined) {
      left++;
      continue;
    }
    work.push(async () => {
      for (const proof of proofs) {
        await pulls.intent(line.name, performance.now());
        await pulls.pulled(line.name, line.imageRef, proof, performance.now());
      }
    });
  }
  let next = 0;
  const fill = async (): Promise<void> => {
    while (next < work.length && !state.isStopping) await work[next++]!();
  };
  await Promise.all(Array.from({ length: FILLERS }, fill));
  return left;
}

/** The pulls that recorded these credentials; undefined where none can have. */
function proofsOf(
  trace: Trace,
  { universe }: ReplayContext,
  { name, imageRef, credentials }: Extract<StateLine, { readonly op: 'record' }>,
): (Credential | null)[] | undefined {
  if (universe.imageOf(name, imageRef) === undefined) return undefined;
  if (credentials === null) return [null];
  const traced = trace.credentials[credentials]!;
  const [first, ...others] = traced.serviceAccounts ?? [];
  // One pull shows one service account.
  const parts: TracedCredentials[] = [
    { ...traced, serviceAccounts: first === undefined ? [] : [first] },
    ...others.map((account) => ({ serviceAccounts: [account] })),
  ];
  if (!parts.every(isOneProof)) return undefined;
  return parts.map((part) => universe.tenants.credential(credentials, part));
}
