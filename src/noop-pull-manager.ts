/**
 * The manager of a node on which the feature is off.
 *
 * Source: kubernetes pkg/kubelet/images/pullmanager/noop_pull_manager.go.
 */
import type { ImagePullManager, PruneResult } from './image-pull-manager.ts';

/** Never asks for a pull, records nothing, and touches no disk. Callable from any thread. */
export class NoopImagePullManager implements ImagePullManager {
  async recordPullIntent(): Promise<void> {}

  async recordImagePulled(): Promise<void> {}

  async recordImagePullFailed(): Promise<void> {}

  async mustAttemptImagePull(): Promise<boolean> {
    return false;
  }

  async pruneUnknownRecords(): Promise<PruneResult> {
    return { pruned: 0, kept: 0, errors: [] };
  }
}
