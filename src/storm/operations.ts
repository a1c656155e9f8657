/** What a storm measures. */

/** Operations that are measured; `decide` is every decision, however it was asked for. */
export const OPERATIONS = [
  'decide',
  'recordPullIntent',
  'recordImagePulled',
  'recordImagePullFailed',
  'pruneUnknownRecords',
] as const;

/** Name of a measured operation. */
export type OperationName = (typeof OPERATIONS)[number];
