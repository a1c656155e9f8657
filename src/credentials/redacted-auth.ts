/** Credentials that do not show themselves. */
import { inspect } from 'node:util';
import { REGISTRY_AUTH_FIELDS, type RegistryAuth } from './pull-credential.ts';

/** What stands in a log for a secret. */
export const REDACTED = '[redacted]';

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
    for (const name of REGISTRY_AUTH_FIELDS) {
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
