/** The methods of a pull manager that note in a trace what they are asked, and then do it. */
import type { DecisionRequest } from '../engine/decider.ts';
import type { ImagePullManager } from '../image-pull-manager.ts';
import type { PullManager } from '../pull-manager.ts';
import type { PodCredentials, PodCredentialsSource } from '../records/record.ts';
import type { Question, TraceRecorder } from './trace-recorder.ts';

/** What a manager may have beyond the five operations of the reference. */
type More = Pick<PullManager, 'decide' | 'decideSync' | 'decideBatch' | 'withPull'>;
type Recorded = ImagePullManager & Partial<More>;

/** Those of the methods that `manager` has. */
export function recordingMethods(
  manager: ImagePullManager,
  recorder: TraceRecorder,
): Partial<Recorded> {
  const methods = { ...operations(manager, recorder), ...decisions(manager, recorder) };
  const present = Object.entries(methods).filter(([name]) => name in manager);
  return Object.fromEntries(present);
}

function operations(manager: Recorded, recorder: TraceRecorder): Partial<Recorded> {
  return {
    recordPullIntent(image) {
      recorder.intent(recorder.now(), image);
      return manager.recordPullIntent(image);
    },
    recordImagePulled(image, imageRef, credentials) {
      recorder.pulled(recorder.now(), image, { imageRef, credentials });
      return manager.recordImagePulled(image, imageRef, credentials);
    },
    recordImagePullFailed(image) {
      recorder.failed(recorder.now(), image);
      return manager.recordImagePullFailed(image);
    },
    withPull(image, pull, options) {
      if (typeof pull !== 'function') return manager.withPull!(image, pull, options);
      recorder.intent(recorder.now(), image);
      return manager.withPull!(
        image,
        async (signal) => {
          try {
            const result = await pull(signal);
            recorder.pulled(recorder.now(), image, result);
            return result;
          } catch (error) {
            recorder.failed(recorder.now(), image);
            throw error;
          }
        },
        options,
      );
    },
    async pruneUnknownRecords(imageRefs, until) {
      if (!(imageRefs instanceof Object && until instanceof Date)) {
        return manager.pruneUnknownRecords(imageRefs, until);
      }
      // It may be a list that can be read once only.
      const listed = [...imageRefs];
      recorder.prune(recorder.now(), listed, until.getTime());
      return manager.pruneUnknownRecords(listed, until);
    },
  };
}

function decisions(manager: Recorded, recorder: TraceRecorder): Partial<Recorded> {
  /** Notes a decision: at once, or once its source was asked or turned out not to be needed. */
  const noted = <T>(
    image: string,
    imageRef: string,
    credentials: PodCredentialsSource | undefined,
    decide: (credentials: PodCredentialsSource | undefined) => Promise<T>,
  ): Promise<T> => {
    const at = recorder.now();
    if (typeof credentials !== 'function') {
      recorder.decide(at, { image, imageRef, credentials });
      return decide(credentials);
    }
    const asked = new AskedSource(credentials);
    const decided = decide(asked.source);
    const note = (): void => recorder.decide(at, { image, imageRef, credentials: asked.presented });
    decided.then(note, note);
    return decided;
  };
  return {
    mustAttemptImagePull: (image, imageRef, credentials) =>
      noted(image, imageRef, credentials, (source) =>
        manager.mustAttemptImagePull(image, imageRef, source),
      ),
    decide: (image, imageRef, credentials, options) =>
      noted(image, imageRef, credentials, (source) =>
        manager.decide!(image, imageRef, source, options),
      ),
    decideSync(image, imageRef, credentials) {
      const at = recorder.now();
      const decision = manager.decideSync!(image, imageRef, credentials);
      // Without one, `decide` will be asked.
      if (decision !== undefined) recorder.decide(at, { image, imageRef, credentials });
      return decision;
    },
    decideBatch(requests) {
      const at = recorder.now();
      const isList = Array.isArray(requests) && requests.every((one) => one instanceof Object);
      if (!isList) return manager.decideBatch!(requests);
      const asked = requests.map((request: DecisionRequest) => withAskedSource(request));
      const decided = manager.decideBatch!(asked.map(({ request }) => request));
      const note = (): void =>
        recorder.decideBatch(
          at,
          asked.map(({ question }) => question()),
        );
      decided.then(note, note);
      return decided;
    },
  };
}

/** A source that remembers what it answered. */
class AskedSource {
  presented: PodCredentials | undefined;
  readonly source: () => PodCredentials | Promise<PodCredentials>;

  constructor(given: () => PodCredentials | Promise<PodCredentials>) {
    this.source = () => {
      const answer = given();
      if (!(answer instanceof Promise)) {
        this.presented = answer;
        return answer;
      }
      return answer.then((presented) => {
        this.presented = presented;
        return presented;
      });
    };
  }
}

function withAskedSource(request: DecisionRequest): {
  readonly request: DecisionRequest;
  readonly question: () => Question;
} {
  const { image, imageRef, credentials } = request;
  if (typeof credentials !== 'function') {
    return { request, question: () => ({ image, imageRef, credentials }) };
  }
  const asked = new AskedSource(credentials);
  return {
    request: { ...request, credentials: asked.source },
    question: () => ({ image, imageRef, credentials: asked.presented }),
  };
}
