/** One event of one manager: tells the manager's own listeners, and the event's channel. */
import { type Channel, subscribe, unsubscribe } from 'node:diagnostics_channel';
import { invalidArgument, quote } from '../errors.ts';
import type { Logger } from '../logger.ts';
import { CHANNELS, EVENT_CHANNELS, type EventName } from './channels.ts';
import type {
  EventMessage,
  ImageManagerEvents,
  OperationMessage,
  PullManagerEvents,
} from './messages.ts';

/** Hears of an event, during the call that caused it: what takes long belongs elsewhere. */
export type EventListener<Message> = (message: Message) => void;

/** Ends a subscription. Calling it again does nothing. */
export type Unsubscribe = () => void;

/** Whom events are about, and who is told of listeners that throw. */
export interface EventOrigin {
  /** Set before the first event. */
  manager: object | undefined;
  readonly logger: Logger;
}

/** A subscription: the same listener may have several. */
interface Entry<Message> {
  readonly tell: EventListener<Message>;
}

/** Subscribes where a manager has listeners, so that asking the channel is enough to know of them. */
const onBehalfOfListeners = (): void => {};

/** Used by one thread. */
export class Emitter<Message extends EventMessage> {
  readonly #event: EventName;
  readonly #channel: Channel<unknown, unknown>;
  readonly #origin: EventOrigin;
  /** Never changed in place: a listener may unsubscribe while it is called. */
  #listeners: readonly Entry<Message>[] = [];
  #isClosed = false;

  constructor(event: EventName, origin: EventOrigin) {
    this.#event = event;
    this.#channel = CHANNELS[event];
    this.#origin = origin;
  }

  /** Whether anybody may listen. Ask before a message is made: usually nobody does. */
  get isWatched(): boolean {
    return this.#channel.hasSubscribers;
  }

  /** Tells everybody who listens. Never throws. */
  emit(told: Omit<Message, keyof EventMessage>): void {
    const message = { manager: this.#origin.manager, ...told } as unknown as Message;
    for (const { tell } of this.#listeners) {
      try {
        const answer: unknown = tell(message);
        if (isThenable(answer)) void Promise.resolve(answer).catch(this.#complain);
      } catch (error) {
        this.#complain(error);
      }
    }
    this.#channel.publish(message);
  }

  /**
   * Tells how an operation ended that has just begun, when it has. Listeners hear of it before who
   * waits for `ended`, if this is called before `ended` is given away.
   *
   * @param answerOf - What the message says of the answer. @default nothing
   */
  emitAfter<Answer>(
    ended: Promise<Answer>,
    told: Omit<Message, keyof OperationMessage | 'result'>,
    answerOf?: (answer: Answer) => Partial<Message>,
  ): void {
    const startedAtMs = performance.now();
    const tell = (ending: object | undefined): void => {
      const durationMs = performance.now() - startedAtMs;
      this.emit({ ...told, durationMs, ...ending } as unknown as Omit<Message, keyof EventMessage>);
    };
    ended.then(
      (answer) => tell(answerOf?.(answer)),
      (error: Error) => tell({ error }),
    );
  }

  /**
   * Adds a listener; one that is added twice is told twice. After `close` there is nothing to hear, and
   * it is forgotten at once. Throws `INVALID_ARGUMENT`.
   */
  on(listener: EventListener<Message>): Unsubscribe {
    if (typeof listener !== 'function') throw invalidArgument('listener', 'must be a function');
    if (this.#isClosed) return () => {};
    const entry = { tell: listener };
    this.#setListeners([...this.#listeners, entry]);
    return () => this.#setListeners(this.#listeners.filter((other) => other !== entry));
  }

  /** Forgets all listeners: those of a manager that is closed would be asked for ever. */
  close(): void {
    this.#isClosed = true;
    this.#setListeners([]);
  }

  #setListeners(listeners: readonly Entry<Message>[]): void {
    const had = this.#listeners.length > 0;
    const has = listeners.length > 0;
    this.#listeners = listeners;
    if (has && !had) subscribe(EVENT_CHANNELS[this.#event], onBehalfOfListeners);
    if (had && !has) unsubscribe(EVENT_CHANNELS[this.#event], onBehalfOfListeners);
  }

  readonly #complain = (error: unknown): void => {
    try {
      const name = error instanceof Error ? error.name : typeof error;
      this.#origin.logger.warn('a listener failed', { event: this.#event, error: name });
    } catch {
      // What was thrown may itself throw when it is looked at, and so may a logger.
    }
  };
}

/** Not only promises of this realm. */
function isThenable(value: unknown): boolean {
  return typeof value === 'object' && value !== null && 'then' in value;
}

/** One emitter for each event of a manager. */
export type Emitters<Events extends { readonly [Name in keyof Events]: EventMessage }> = {
  readonly [Name in keyof Events]: Emitter<Events[Name]>;
};

/** The emitters of a `PullManager`. */
export function pullManagerEmitters(origin: EventOrigin): Emitters<PullManagerEvents> {
  return {
    intent: new Emitter('intent', origin),
    outcome: new Emitter('outcome', origin),
    decision: new Emitter('decision', origin),
    prune: new Emitter('prune', origin),
    reconcile: new Emitter('reconcile', origin),
  };
}

/** The emitters of an `ImageManager`. */
export function imageManagerEmitters(origin: EventOrigin): Emitters<ImageManagerEvents> {
  return {
    pullStarted: new Emitter('pullStarted', origin),
    pullFinished: new Emitter('pullFinished', origin),
    pullFailed: new Emitter('pullFailed', origin),
    unansweredPullSettled: new Emitter('unansweredPullSettled', origin),
    ensure: new Emitter('ensure', origin),
    collect: new Emitter('collect', origin),
  };
}

/** Listeners by event. */
export type EventListeners<Events> = {
  readonly [Name in keyof Events]?: EventListener<Events[Name]>;
};

/** Adds a listener by the event's name: what `on` of a manager does. Throws `INVALID_ARGUMENT`. */
export function listenTo<
  Events extends { readonly [Name in keyof Events]: EventMessage },
  Name extends keyof Events,
>(emitters: Emitters<Events>, event: Name, listener: EventListener<Events[Name]>): Unsubscribe {
  if (typeof event !== 'string' || !Object.hasOwn(emitters, event)) {
    const given = typeof event === 'string' ? quote(event) : typeof event;
    throw invalidArgument(
      'event',
      `must be one of ${Object.keys(emitters).join(', ')}, not ${given}`,
    );
  }
  return emitters[event].on(listener);
}

/** Forgets all listeners of a manager that is closed. */
export function closeEmitters(emitters: Readonly<Record<string, { close(): void }>>): void {
  for (const emitter of Object.values(emitters)) emitter.close();
}

/** Adds listeners that have been checked. */
export function listenToAll<Events extends { readonly [Name in keyof Events]: EventMessage }>(
  emitters: Emitters<Events>,
  listeners: EventListeners<Events>,
): void {
  for (const event in listeners) {
    const listener = listeners[event];
    if (listener !== undefined) emitters[event].on(listener);
  }
}
