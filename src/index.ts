/**
 * pullwarden: decides who may use a container image that is already on a machine.
 *
 * ```js
 * import { PullManager } from 'pullwarden';
 *
 * const manager = await PullManager.open({ store: { kind: 'journal', path: './records' } });
 * if (await manager.mustAttemptImagePull(image, imageRef, { secrets })) {
 *   // ask the registry, with the pod's credentials
 * }
 * await manager.close();
 * ```
 *
 * @module
 */
export type {
  Awaitable,
  PullRecordsAccessor,
  RecordListing,
  RecordWrite,
} from './accessors/accessor.ts';
export type { StoreOptions } from './accessors/backend.ts';
export { type CachedAccessor, type CacheOptions, cachedAccessor } from './accessors/cached.ts';
export type { CacheUsage } from './accessors/key-cache.ts';
export type { AccessorFactory } from './accessors/module.ts';
export type { CompatibilityLevel } from './compatibility.ts';
export { credentialHash } from './credentials/credential-hash.ts';
export {
  CredentialLookup,
  type CredentialLookupOptions,
  type CredentialRequest,
} from './credentials/credential-lookup.ts';
export type { PodServiceAccount, PullSecret } from './credentials/pod-identity.ts';
export type {
  CredentialSourceIdentity,
  PullCredential,
  PullCredentialsSource,
  RegistryAuth,
} from './credentials/pull-credential.ts';
export type { DecisionRequest } from './engine/decider.ts';
export type { Decision } from './engine/decision.ts';
export type { EngineHandle } from './engine/engine.ts';
export type { AdoptedImage } from './engine/reconcile.ts';
export {
  AllowlistPatternError,
  ImageNameError,
  type ImageNameErrorReason,
  PULL_MANAGER_ERROR_CODES,
  PullManagerError,
  type PullManagerErrorCode,
  type PullManagerErrorFields,
  type PullManagerErrorName,
} from './errors.ts';
export { EVENT_CHANNELS, type EventName } from './events/channels.ts';
export type { EventListener, EventListeners, Unsubscribe } from './events/emitter.ts';
export type {
  CollectMessage,
  DecisionMessage,
  EnsureMessage,
  EventMessage,
  ImageManagerEvents,
  IntentMessage,
  OperationMessage,
  OutcomeMessage,
  PruneMessage,
  PullCredentialKind,
  PullFailedMessage,
  PullFinishedMessage,
  PullManagerEvents,
  PullStartedMessage,
  ReconcileMessage,
  UnansweredPullSettledMessage,
} from './events/messages.ts';
export { EnsureImageError, type EnsureImageErrorCode } from './image-manager/ensure-image-error.ts';
export { ImageManager } from './image-manager/image-manager.ts';
export type { ImageManagerOptions } from './image-manager/options.ts';
export type {
  CheckedImage,
  CheckImageRequest,
  EnsuredImage,
  EnsureImageRequest,
  ImageManagerCallOptions,
} from './image-manager/request.ts';
export type { ImagePullManager, PruneResult } from './image-pull-manager.ts';
export { type ImageName, parseImageName, trimImageTagDigest } from './images/image-name.ts';
export type { ImageService, RuntimeImage } from './images/image-service.ts';
export type { PullPolicy } from './images/pull-policy.ts';
export type { StripedLockHandle, StripedLockOptions } from './locks/lock-arguments.ts';
export { StripedLockSet, type Unlock } from './locks/striped-lock-set.ts';
export type { Logger } from './logger.ts';
export type { MetricValues } from './metrics/exposition.ts';
export {
  type MetricsSource,
  type PromClient,
  type PromClientCollector,
  type PromClientCollectorOptions,
  type PromMetric,
  type PromMetricClass,
  type PromRegistry,
  promClientCollector,
} from './metrics/prom-client.ts';
export type { DecisionReason, Distribution, EngineStats } from './metrics/stats.ts';
export { NoopImagePullManager } from './noop-pull-manager.ts';
export type { PullManagerOptions, WhenFull } from './options.ts';
export { type AllowlistEntry, validateAllowlistImagesPatterns } from './policies/allowlist.ts';
export {
  alwaysVerifyImagePullPolicy,
  createImagePullCredentialVerificationPolicy,
  type ImagePullPolicyEnforcer,
  neverVerifyAllowlistedPullPolicy,
  neverVerifyImagePullPolicy,
  neverVerifyPreloadedPullPolicy,
  type RebuildableEnforcer,
  type VerificationPolicy,
} from './policies/enforcer.ts';
export { type AttachOptions, type DecideOptions, PullManager } from './pull-manager.ts';
export type {
  ImagePullCredentials,
  ImagePulledRecord,
  ImagePullIntent,
  ImagePullSecret,
  ImagePullServiceAccount,
  Listing,
  PodCredentials,
  PodCredentialsSource,
  RecordChange,
} from './records/record.ts';
export {
  type CriRuntime,
  type CriRuntimeOptions,
  criRuntime,
  type RuntimeVersion,
} from './runtime/cri/cri-runtime.ts';
export type { ImageFilesystem } from './runtime/cri/messages.ts';
export {
  type ImageRuntime,
  ImageRuntimeError,
  type ImageRuntimeErrorKind,
} from './runtime/image-runtime.ts';
export type { TraceNaming } from './trace/format.ts';
export {
  type RecordTraceOptions,
  recordTrace,
  type TraceRecording,
} from './trace/record-trace.ts';
