/** `vmTest` of tsvmm/testing: by tests that use it, and by a run of vitest whose tests are meant to fail. */
import { execFile } from 'node:child_process';
import { cpSync, mkdirSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import type { VirtualMachine } from 'tsvmm';
import { vmTest } from 'tsvmm/testing';
import { afterAll, beforeAll, describe, expect, test as plain } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';
import { openTargets } from '../support/descriptors.js';
import { guestFile, whyNoKvm } from './support/guests.js';
import { call, endLife, say } from './support/lives.js';

const options = { memory: '64M', boot: { kernel: guestFile('life') }, ready: 'life: begins\n' } as const;
const test = vmTest({ ...options, name: 'lives' });
const slow = vmTest({
  ...options,
  ready: async (vm) => {
    await vm.console.waitFor('life: begins\n');
    await call(vm, 'ready');
    await new Promise((resolve) => setTimeout(resolve, 4000));
  },
});

const machines = (): number => openTargets().filter((target) => target.includes('kvm-vm')).length;
const seen: VirtualMachine[] = [];

describe.skipIf(whyNoKvm !== undefined)('a test of vmTest', () => {
  test('has a machine', async ({ vm, template }) => {
    const machine: VirtualMachine = vm;
    seen.push(machine, template);
    expect([machine.name, machine.state, template.state]).toEqual(['lives-fork1', 'running', 'paused']);
    await call(machine, 'changed');
    expect((await say(machine)).name).toBe('changed');
  });

  test('has one of its own, and that of the test before it is gone', async ({ vm, template }) => {
    expect(template).toBe(seen[1]);
    expect(seen[0]!.state).toBe('stopped');
    expect((await say(vm)).name).toBe('first');
    expect(machines()).toBe(2);
    await endLife(vm);
  });

  test.for(['one', 'two'])('has one, with arguments too: %s', async (name, { vm }) => {
    await call(vm, name);
    expect((await say(vm)).name).toBe(name);
  });

  const attempts: VirtualMachine[] = [];
  test('has another when it is tried again', { retry: 1 }, async ({ vm }) => {
    attempts.push(vm);
    expect((await say(vm)).name).toBe('first');
    await call(vm, 'tried');
    expect(attempts).toHaveLength(2);
    expect(attempts[0]).not.toBe(vm);
  });

  test('need not ask for one', ({ template, expect: own }) => {
    own(template.state).toBe('paused');
    own(machines()).toBe(1);
  });

  describe('with a hook', () => {
    test.beforeEach(({ vm }) => call(vm, 'hooked'));
    test('finds its machine there', async ({ vm }) => expect((await say(vm)).name).toBe('hooked'));
  });

  // @ts-expect-error: nobody gives it that
  test.skip('has nothing else', ({ machine }) => expect(machine).toBeUndefined());

  slow('is not late because the boot was', async ({ vm }) => expect((await say(vm)).name).toBe('ready'), 3500);
});

describe.skipIf(whyNoKvm !== undefined).concurrent('tests at the same time', () => {
  const together: string[] = [];
  test.for(['a', 'b', 'c'])('have a machine each: %s', async (name, { vm, expect: own }) => {
    await call(vm, name);
    together.push(name);
    await own.poll(() => together.length, { timeout: 60_000 }).toBe(3);
    own((await say(vm)).name).toBe(name);
  });
});

describe.skipIf(whyNoKvm !== undefined)('of vitest', () => {
  const folder = join(packageRoot(), '.cache/example', `testing-${process.pid}`); // where `tsvmm` is found
  let told = '';
  let passed = '';

  /** What a run of these files prints, and that it does not end with 0. */
  async function run(files: readonly string[], ...words: readonly string[]): Promise<string> {
    const vitest = join(packageRoot(), 'node_modules/vitest/vitest.mjs');
    const command = [vitest, 'run', '--root', folder, '--no-color', ...words, ...files];
    const env = { ...process.env, GUESTS: join(guestFile('life'), '..') };
    const { stdout, stderr } = await promisify(execFile)(process.execPath, command, { cwd: folder, env }).catch(
      (failed: { stdout: string; stderr: string }) => failed,
    );
    return stdout + stderr;
  }

  beforeAll(async () => {
    mkdirSync(folder, { recursive: true });
    cpSync(join(import.meta.dirname, 'programs/vitest'), folder, { recursive: true });
    told = await run(['failing']);
    // The larger file comes first.
    passed = await run(['leaves', 'left'], '--no-isolate', '--reporter=verbose');
  }, 200_000);
  afterAll(() => rmSync(folder, { recursive: true, force: true }));

  /** The block of its error. */
  const failure = (name: string): string =>
    told.split(/^ FAIL /m).find((block) => block.includes(`> ${name}\n`)) ?? told;

  plain('the report of a failure has the console since the fork, and how the machine is', () => {
    const block = failure('expects something else');
    expect(block).toMatch(/^AssertionError: expected 'of the test' to be 'of another'/m);
    expect(block).toContain(
      'machine lives-fork1: running\nconsole:\n| life: now of the test\n| life: of the test, round',
    );
    expect(block).not.toContain('life: begins');
    expect(block).toContain('failing.test.js:'); // where, as ever
  });

  plain('the report of a test that takes too long, too', () => {
    expect(failure('takes too long')).toMatch(/Test timed out in 3000ms.*\n\| life: now slow\n/s);
  });

  plain('the report tells of a machine that has ended', () => {
    expect(failure('waits for one that ended')).toMatch(
      /machine lives-fork\d+: ended: power-off, debug exit 1\n.*\| .*FAIL: what is "fly"/s,
    );
  });

  plain('a machine that does not boot fails every test at once, and is told of once', () => {
    expect(told.match(/the machine did not become ready: it was not ready after 5000 ms/g)).toHaveLength(1);
    expect(failure('needs it too')).toMatch(/\n\| life: begins\n/);
    expect(told).toMatch(/FAIL.* needs what never comes\n.*FAIL.* needs it too\n/);
    expect(failure('needs one that ends')).toMatch(
      /the machine did not become ready: it ended before it was ready.*: ended: power-off, debug exit 0\n.*\| hello from guest/s,
    );
    expect(failure('needs a kernel')).toContain('/nonexistent');
  });

  plain('machines are gone when their file is done', () => {
    expect(passed).toMatch(/leaves\.test\.js > leaves.*left\.test\.js > finds nothing/s);
    expect(passed).toMatch(/Tests +2 passed/);
  });
});
