/**
 * Answers that are known when the call returns. Shared: a promise per decision would cost more than
 * the decision; and who is given one of these need not wait to know what it says.
 */
export const MUST_PULL: Promise<boolean> = Promise.resolve(true);
export const NEED_NOT_PULL: Promise<boolean> = Promise.resolve(false);
