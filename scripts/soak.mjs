/**
 * Compiles the soak (test/soak) into a directory of its own and runs it.
 *
 *   npm run soak -- --hours 4
 */
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { compileAside } from './compile-project.mjs';

try {
  const { out, remove } = compileAside('test/soak/tsconfig.json');
  process.once('exit', remove);
  const { main } = await import(pathToFileURL(join(out, 'test', 'soak', 'run.js')).href);
  process.exitCode = await main(process.argv.slice(2));
} catch (error) {
  console.error(`soak: ${error.message}`);
  process.exitCode = 2;
}
