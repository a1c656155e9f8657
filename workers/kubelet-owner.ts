/** A worker of the store `kubelet`. */
import { openKubelet } from '../src/accessors/kubelet/kubelet-accessor.ts';
import { ownerOf, type StripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = ownerOf<'kubelet'>(({ plan }, context) => openKubelet(plan, context));

export default owner;
