/** A worker of the store `module`. */
import { openModule } from '../src/accessors/module.ts';
import { ownerOf, type StripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = ownerOf<'module'>(openModule);

export default owner;
