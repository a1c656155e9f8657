/** A worker of the store `lmdb`. */
import { openLmdb } from '../src/accessors/lmdb.ts';
import { ownerOf, type StripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = ownerOf<'lmdb'>(({ path }) => openLmdb(path));

export default owner;
