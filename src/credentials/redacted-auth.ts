/** Credentials that do not show themselves. */
import { inspect } from 'node:util';
import type { RegistryAuth } from './pull-credential.ts';

/** What stands in a log for a secret. */
export const REDACTED = '[redacted]';

/** The fields of a credential, in the order in which they are copied. */
const FIELDS = [
  'username',
  'password',
  'auth',
  'email',
  'serverAddress',
  'identityToken',
  'registryToken',
] as const satisfies readonly (keyof RegistryAuth)[];

/** Behaves as a plain object, but logs, `JSON.stringify` and `inspect` see only that it is one. */
class RedactedAuth implements RegistryAuth {
  declare username?: string;
  declare password?: string;
  declare auth?: string;
  declare email?: string;
  declare serverAddress?: string;
  declare identityToken?: string;
  declare registryToken?: string;

  constructor(fields: RegistryAuth) {
    for (const name of FIELDS) {
      const value = fields[name];
      if (value !== undefined && value !== '') this[name] = value;
    }
  }

  toJSON(): string {
    return REDACTED;
  }

  [inspect.custom](): string {
    return REDACTED;
  }
}

/**
 * A credential with the same fields, without the empty ones, that shows as `[redacted]` wherever it is
 * printed. A copy made by spreading is an ordinary object again.
 */
export function redactedAuth(fields: RegistryAuth): RegistryAuth {
  return new RedactedAuth(fields);
}
