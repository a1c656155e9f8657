/** A worker of the store `kubelet`. */
import { openKubelet } from '../src/accessors/kubelet/kubelet-accessor.ts';
import { type StripeOwner, stripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = stripeOwner<'kubelet'>(({ plan }, context) =>
  openKubelet(plan, context),
);

export default owner;
