/** A worker of the store `module`. */
import { openModule } from '../src/accessors/module.ts';
import { type StripeOwner, stripeOwner } from './stripe-owner.ts';

const owner: StripeOwner = stripeOwner<'module'>(openModule);

export default owner;
