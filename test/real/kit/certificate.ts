/** Self-signed certificates for servers on loopback, made when a test needs them. */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { runProgram } from './run-program.ts';

/** A key on P-256 and its certificate, for `127.0.0.1` and `localhost`. */
export interface Certificate {
  readonly certificatePath: string;
  /** PEM. */
  readonly certificate: string;
  /** PEM. */
  readonly privateKey: string;
}

/** Makes `NAME.crt` and `NAME.key` in a directory. */
export async function createCertificate(directory: string, name: string): Promise<Certificate> {
  const certificatePath = join(directory, `${name}.crt`);
  const keyPath = join(directory, `${name}.key`);
  const args =
    'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 ' +
    `-subj /CN=${name} -addext subjectAltName=IP:127.0.0.1,DNS:localhost`;
  await runProgram('openssl', [...args.split(' '), '-keyout', keyPath, '-out', certificatePath]);
  return {
    certificatePath,
    certificate: await readFile(certificatePath, 'utf8'),
    privateKey: await readFile(keyPath, 'utf8'),
  };
}
