/** What one life of an agent under test is to do, and what it tells. */

import type { PullCredential } from '../../../src/credentials/pull-credential.ts';
import { hashNumbers } from '../../../src/util/random.ts';

/** Where an agent can be killed: before or after a call, or at any moment. */
export const KILL_STEPS = [
  'before imageStatus',
  'after imageStatus',
  'before mustAttemptImagePull',
  'after mustAttemptImagePull',
  'before credentials',
  'before recordPullIntent',
  'after recordPullIntent',
  'before pullImage',
  'during pullImage',
  'after pullImage',
  'before recordImagePulled',
  'during recordImagePulled',
  'after recordImagePulled',
  'before recordImagePullFailed',
  'during recordImagePullFailed',
  'after recordImagePullFailed',
] as const;

export type KillStep = (typeof KILL_STEPS)[number];

/** An image of the private registry. */
export interface CrashImage {
  /** Tells who may pull it. */
  readonly number: number;
  readonly name: string;
  readonly id: string;
}

/** One life; passed as JSON. */
export interface LifePlan {
  readonly seed: number;
  readonly socket: string;
  readonly storePath: string;
  readonly workerCount: number;
  readonly images: readonly CrashImage[];
  /** Number of an image that nobody asks for before the work begins; the runtime is then killed. */
  readonly fresh?: number;
  /** Proofs that earlier lives were told of, as `tenant image-number`. */
  readonly proven: readonly string[];
  /** Where this life ends by its own hand; absent: its parent ends it. */
  readonly kill?: {
    readonly step: KillStep;
    readonly occurrence: number;
    readonly delayMs: number;
  };
  /** Waits, before it works, until no intent is left. */
  readonly settles: boolean;
  /** Ends in order, after so many requests. */
  readonly requests: number;
}

/** What a life writes, a JSON text a line, each before it goes on. */
export type LifeEvent =
  /** All checks at the start are done, and work begins. */
  | { readonly event: 'working'; readonly checks: number }
  /** A tenant was let in, and was told so. */
  | { readonly event: 'proven'; readonly pair: string }
  /** Something happened that must not. */
  | { readonly event: 'violation'; readonly text: string }
  /** The runtime was killed during the first pulls of the fresh image, and is there again. */
  | { readonly event: 'fresh'; readonly present: boolean }
  /** The runtime did not answer a pull. */
  | { readonly event: 'unanswered' }
  /** It is about to kill itself. */
  | { readonly event: 'dying'; readonly step: KillStep }
  | { readonly event: 'ended'; readonly requests: number };

export const TENANTS = ['tenant-0', 'tenant-1', 'tenant-2', 'mallory'] as const;
/** A user of the registry who may pull nothing. */
export const STRANGER = 'mallory';
const ALLOWED_OF_3 = 2;

/** Whether a tenant may pull an image. */
export function mayPull(tenant: string, imageNumber: number): boolean {
  if (tenant === STRANGER) return false;
  return hashNumbers(imageNumber, tenant.charCodeAt(tenant.length - 1)) % 3 < ALLOWED_OF_3;
}

export function passwordOf(tenant: string): string {
  return `${tenant}-password`;
}

export function secretOf(tenant: string): PullCredential {
  return {
    auth: { username: tenant, password: passwordOf(tenant) },
    source: { kind: 'secret', uid: `uid-${tenant}`, namespace: tenant, name: 'pull' },
  };
}
