/** How the real command line is started. */
import { fileURLToPath } from 'node:url';
import { isBuilt } from '../../scripts/build.mjs';

const root = (path: string): string => fileURLToPath(new URL(`../../${path}`, import.meta.url));

/**
 * What `node` is given before the arguments of `pullwarden`. The build, where it is made from the sources
 * as they are: it starts in a quarter of the time.
 */
export const PROGRAM: readonly string[] = isBuilt()
  ? [root('dist/src/cli/main.js')]
  : // Resolved here: the working directory of the process may be elsewhere.
    ['--import', import.meta.resolve('tsx'), root('src/cli/main.ts')];
