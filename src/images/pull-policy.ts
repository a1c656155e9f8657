/** When to ask the registry, as a pod says it. */

export const PULL_POLICIES = ['Always', 'IfNotPresent', 'Never'] as const;

/** When to ask the registry. */
export type PullPolicy = (typeof PULL_POLICIES)[number];
