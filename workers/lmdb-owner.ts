/** A worker of the store `lmdb`. */
import { openLmdb } from '../src/accessors/lmdb.ts';
import { type StripeOwner, stripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = stripeOwner<'lmdb'>(({ path }) => openLmdb(path));

export default owner;
