/** What a `StripedLockSet` takes, checked and completed. */
import { types } from 'node:util';
import { invalidArgument } from '../errors.ts';
import { clampStripeCount, STRIPE_COUNT_MAX } from './stripe.ts';

/** Of shared memory, for each stripe: stripes never share a cache line. */
export const LINE_BYTES = 64;
const DEFAULT_TIMEOUT_MS = 30_000;

/** What another thread needs to join a set; structured-cloneable. */
export interface StripedLockHandle {
  /** 64 bytes per stripe. */
  readonly buffer: SharedArrayBuffer;
  /** 1 to 31. */
  readonly stripeCount: number;
}

/** Settings of one thread's view of a set; they do not travel with the handle. */
export interface StripedLockOptions {
  /**
   * Longest wait for a lock, in milliseconds, 0 or more and finite; for the global lock the wait
   * for all stripes together. @default 30000
   */
  readonly timeoutMs?: number;
  /**
   * Throws `LOCK_MISUSED` when a blocking form takes a stripe while this thread holds a higher one
   * by a blocking form. Costs a look at every higher stripe. @default false
   */
  readonly assertOrder?: boolean;
}

export function checkedStripeCount(size: number): number {
  if (typeof size === 'number' && !Number.isNaN(size)) return clampStripeCount(size);
  throw invalidArgument('size', 'must be a number');
}

export function filledOptions(options: StripedLockOptions): Required<StripedLockOptions> {
  if (typeof options !== 'object' || options === null) {
    throw invalidArgument('options', 'must be an object');
  }
  const { timeoutMs = DEFAULT_TIMEOUT_MS, assertOrder = false } = options;
  if (!Number.isFinite(timeoutMs) || timeoutMs < 0) {
    throw invalidArgument('options.timeoutMs', 'must be a finite number, 0 or more');
  }
  if (typeof assertOrder !== 'boolean') {
    throw invalidArgument('options.assertOrder', 'must be a boolean');
  }
  return { timeoutMs, assertOrder };
}

export function checkHandle(handle: StripedLockHandle): void {
  if (typeof handle !== 'object' || handle === null) {
    throw invalidArgument('handle', 'must be the handle of a StripedLockSet');
  }
  const { buffer, stripeCount } = handle;
  if (!Number.isInteger(stripeCount) || stripeCount < 1 || stripeCount > STRIPE_COUNT_MAX) {
    throw invalidArgument('handle.stripeCount', `must be an integer from 1 to ${STRIPE_COUNT_MAX}`);
  }
  const byteLength = stripeCount * LINE_BYTES;
  if (!types.isSharedArrayBuffer(buffer) || buffer.byteLength !== byteLength) {
    throw invalidArgument('handle.buffer', `must be a SharedArrayBuffer of ${byteLength} bytes`);
  }
}

export function checkSignal(signal: AbortSignal | undefined): void {
  if (signal === undefined || (typeof signal === 'object' && signal instanceof AbortSignal)) return;
  throw invalidArgument('signal', 'must be an AbortSignal');
}
