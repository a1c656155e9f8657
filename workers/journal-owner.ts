/** A worker of the store `journal`. */
import { openJournal } from '../src/accessors/journal/journal-accessor.ts';
import { type StripeOwner, stripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = stripeOwner<'journal'>(({ plan }, context) =>
  openJournal(plan, context),
);

export default owner;
