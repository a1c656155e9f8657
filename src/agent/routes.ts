/** What the agent offers: a handler for each method and path. */
import type { PullCredential } from '../credentials/pull-credential.ts';
import { type Answer, JSON_TYPE, jsonAnswer, METRICS_TYPE } from './answer.ts';
import { toldOf } from './error-answer.ts';
import { HttpError } from './http-error.ts';
import { listImages } from './image-listing.ts';
import {
  type CheckBody,
  type PodBaggage,
  parseCheck,
  parseCollect,
  parseEnsure,
} from './requests.ts';
import type { RuntimeWatch } from './runtime-watch.ts';
import type { Call, Routes } from './server.ts';
import type { AgentServices } from './services.ts';

const OK = 200;

/**
 * The routes of an agent.
 *
 * @param ownMetrics - The agent's part of `/metrics`.
 */
export function agentRoutes(
  services: AgentServices,
  watch: RuntimeWatch,
  ownMetrics: () => string,
): Routes {
  const { imageManager, pullManager } = services;
  return new Map([
    [
      '/v1/ensure',
      {
        POST: async (call: Call): Promise<Answer> => {
          const { image, pullPolicy, podUid, ...baggage } = parseEnsure(await call.json());
          const credentials = lookUp(services, image, baggage, call.signal);
          const request = { image, pullPolicy, podUid, credentials };
          return jsonAnswer(await imageManager.ensureImage(request, { signal: call.signal }));
        },
      },
    ],
    [
      '/v1/check',
      {
        POST: async (call: Call): Promise<Answer> =>
          jsonAnswer(await check(services, parseCheck(await call.json()), call.signal)),
      },
    ],
    [
      '/v1/images',
      {
        GET: async ({ signal }: Call): Promise<Answer> => ({
          status: OK,
          contentType: JSON_TYPE,
          body: await listImages(services, signal),
        }),
      },
    ],
    [
      '/v1/collect',
      {
        POST: async (call: Call): Promise<Answer> => {
          parseCollect(await call.json());
          const { pruned, kept, errors } = await imageManager.collect({ signal: call.signal });
          return jsonAnswer({ pruned, kept, errors: errors.map(toldOf) });
        },
      },
    ],
    [
      '/metrics',
      {
        GET: async (): Promise<Answer> => {
          const texts = await Promise.all([pullManager.metrics(), imageManager.metrics()]);
          const body = [...texts, ownMetrics()].join('');
          return { status: OK, contentType: METRICS_TYPE, body };
        },
      },
    ],
    [
      '/healthz',
      {
        // Of the agent alone: who restarts it for what the runtime lacks makes nothing better.
        GET: async (): Promise<Answer> => jsonAnswer({ status: 'ok', runtime: watch.watchedState }),
      },
    ],
    [
      '/readyz',
      {
        GET: async (): Promise<Answer> => {
          await watch.check();
          if (watch.state === 'reachable') return jsonAnswer({ status: 'ready' });
          throw new HttpError('ERR_AGENT_NOT_READY', watch.description);
        },
      },
    ],
  ]);
}

/** The decision on the copy on the node, as `ensure` would make it. */
async function check(
  { imageManager, ...services }: AgentServices,
  { image, imageRef: given, ...baggage }: CheckBody,
  signal: AbortSignal,
): Promise<object> {
  let failure: { readonly error: unknown } | undefined;
  const source = lookUp(services, image, baggage, signal);
  const credentials = async (): Promise<readonly PullCredential[]> => {
    try {
      return await source();
    } catch (error) {
      failure = { error };
      throw error;
    }
  };
  const question = { image, ...(given !== undefined && { imageRef: given }), credentials };
  const checked = await imageManager.check(question, { signal });
  // The decision says that they could not be looked up; its cause says why.
  if (failure !== undefined) throw failure.error;
  const { imageRef, mustPull, reason, detail, cause } = checked;
  const why = cause === undefined ? {} : { cause: toldOf(cause) };
  return { imageRef, mustPull, reason, detail, ...why };
}

function lookUp(
  { lookup }: Pick<AgentServices, 'lookup'>,
  image: string,
  baggage: PodBaggage,
  signal: AbortSignal,
): () => Promise<readonly PullCredential[]> {
  return () => lookup.pullCredentials({ image, ...baggage }, { signal });
}
