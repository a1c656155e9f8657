/** A worker of the store `memory`. */
import { openMemory } from '../src/accessors/memory.ts';
import { type StripeOwner, stripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = stripeOwner<'memory'>((_, context) => openMemory(context));

export default owner;
