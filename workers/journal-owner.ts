/** A worker of the store `journal`. */
import { openJournal } from '../src/accessors/journal/journal-accessor.ts';
import { ownerOf, type StripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = ownerOf<'journal'>(({ plan }, context) => openJournal(plan, context));

export default owner;
