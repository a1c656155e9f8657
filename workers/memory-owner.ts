/** A worker of the store `memory`. */
import { openMemory } from '../src/accessors/memory.ts';
import { ownerOf, type StripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = ownerOf<'memory'>((_, context) => openMemory(context));

export default owner;
