/** Groups of tests that run against the real programs, or say why they do not. */
import { afterAll, afterEach, beforeAll, describe, it } from 'vitest';
import { IS_REAL_REQUIRED } from '../../support/required.ts';
import { Components } from './components.ts';
import { CONTAINERD, NEXT_CONTAINERD, type RuntimeProgram } from './programs.ts';

/**
 * A group of tests with components of its own, on the distribution's containerd.
 *
 * They are started before the first test and ended after the last. The group is skipped where the
 * programs or the rights are missing, and its name says what. With `PULLWARDEN_REQUIRE_REAL=1` it
 * fails there.
 */
export function describeReal(name: string, body: (components: Components) => void): void {
  describeOn(CONTAINERD, name, body);
}

/** The same group of tests on each containerd there is; a newer one may be missing. */
export function describeEachRuntime(name: string, body: (components: Components) => void): void {
  for (const program of [CONTAINERD, NEXT_CONTAINERD]) {
    describeOn(program, `${name}, on ${program.name}`, body);
  }
}

function describeOn(
  program: RuntimeProgram,
  name: string,
  body: (components: Components) => void,
): void {
  const components = new Components(program);
  const { problem, optional } = program;
  if (problem === undefined) {
    describe(name, () => {
      beforeAll(async () => {
        await components.start();
      });
      afterAll(() => components[Symbol.asyncDispose]());
      afterEach(({ task }) => {
        if (task.result?.state === 'fail') console.error(`${task.name}:\n${components.logs}`);
      });
      body(components);
    });
  } else if (IS_REAL_REQUIRED && !optional) {
    describe(name, () => {
      it('has the programs that it needs', () => {
        throw new Error(problem);
      });
    });
  } else {
    describe.skip(`${name} (skipped: ${problem})`, () => body(components));
  }
}
