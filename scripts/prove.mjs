/**
 * Compiles the proofs (test/prove) into a directory of their own and runs them.
 *
 *   npm run prove -- --help
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compileAside } from './compile-project.mjs';

try {
  const { out, remove } = compileAside('test/prove/tsconfig.json');
  process.once('exit', remove);
  const { prove } = await import(pathToFileURL(join(out, 'test', 'prove', 'run.js')).href);
  process.exitCode = await prove(process.argv.slice(2));
} catch (error) {
  console.error(`prove: ${error.message}`);
  process.exitCode = 2;
}
