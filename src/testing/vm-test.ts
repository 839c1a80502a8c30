/**
 * `vmTest`: vitest's `test` with a machine in its context. A machine is booted once for the tests of a file, and each of them
 * gets a fork of it. Main thread of the test's worker.
 */
import { test as base, type TestAPI, type TestContext } from 'vitest';
import type { VirtualMachine } from '../index.js';
import { report, type Seen } from './report.js';
import { bootTemplate, templateOptions, type VmTestOptions } from './template.js';
import { watch } from './watch.js';

/** What a test of `vmTest` finds in its context. */
export interface VmTestContext {
  /** This test's own: a fork of the template, disposed of when the test is over. */
  vm: VirtualMachine;
  /** The machine of the whole file, paused where it was ready. Whatever a test changes of it, later tests see. */
  template: VirtualMachine;
}

export type VmTest = TestAPI<VmTestContext>;

/**
 * vitest's `test`, whose tests may ask for `vm`. Call it at the top of a test file, or of a module that test files import. The
 * console and the warnings of a machine whose test fails stand below the error.
 */
export function vmTest(options: VmTestOptions): VmTest {
  const checked = templateOptions(options);
  const test = base.extend<{ $file: Pick<VmTestContext, 'template'>; $test: Pick<VmTestContext, 'vm'> }>({
    template: [
      // biome-ignore lint/correctness/noEmptyPattern: vitest reads from it what a fixture needs
      async ({}, use) => {
        await using template = await bootTemplate(checked);
        await use(template.vm);
      },
      { scope: 'file' },
    ],
    vm: async ({ template, task }, use) => {
      await using vm = await template.fork();
      const watched = watch(vm);
      await use(vm);
      if (task.result?.state === 'fail') attach(task, await watched.seen());
    },
  });
  // The boot has its own deadline. In a test, its first user's would be the boot's as well.
  test.beforeEach(({ template }) => void template, 0);
  return test;
}

/** To the newest error: what retries and soft assertions left before has been told of. Annotations end with the test's body. */
function attach(task: TestContext['task'], seen: Seen): void {
  const error = task.result?.errors?.at(-1);
  if (error === undefined) return;
  const { message } = error;
  error.message = `${message}\n\n${report(seen)}\n`;
  if (error.stack !== undefined) error.stack = error.stack.replace(message, () => error.message);
}
