/** The diagnostics channels on which events of all managers of a thread are published. */
import { type Channel, channel } from 'node:diagnostics_channel';

/** Names of diagnostics channels, by event: `diagnostics_channel.subscribe(name, listener)`. */
export const EVENT_CHANNELS = {
  intent: 'pullwarden:intent',
  outcome: 'pullwarden:outcome',
  decision: 'pullwarden:decision',
  prune: 'pullwarden:prune',
  reconcile: 'pullwarden:reconcile',
  pullStarted: 'pullwarden:pull-started',
  pullFinished: 'pullwarden:pull-finished',
  pullFailed: 'pullwarden:pull-failed',
  unansweredPullSettled: 'pullwarden:unanswered-pull-settled',
  ensure: 'pullwarden:ensure',
  collect: 'pullwarden:collect',
} as const;

/** Name of an event, for example `pullStarted`. */
export type EventName = keyof typeof EVENT_CHANNELS;

/** Those of a `PullManager`. */
export const PULL_MANAGER_EVENTS = ['intent', 'outcome', 'decision', 'prune', 'reconcile'] as const;

/**
 * The channels themselves. Kept here: Node forgets a channel that nobody holds, with its subscribers.
 * Whether one is watched costs nothing to ask of a constant (`CHANNELS.decision.hasSubscribers`): the
 * compiler knows the answer, until somebody subscribes.
 */
export const CHANNELS: Readonly<Record<EventName, Channel<unknown, unknown>>> = Object.freeze(
  Object.fromEntries(
    Object.entries(EVENT_CHANNELS).map(([event, name]) => [event, channel(name)]),
  ) as Record<EventName, Channel<unknown, unknown>>,
);
