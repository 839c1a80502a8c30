/**
 * Every supported Node ends, reports and is inspected when it wants to, whatever a machine is doing, and nothing is left
 * (contract §1.1, §1.11).
 *
 * All of it takes a second at most, beside what Node itself takes for the same without a machine: a heap snapshot alone is half
 * a second of V8's. What else runs on the host is nothing that is measured here: the programs go before it, and the clock of
 * what takes long stands while its thread waits for a processor (programs/machine.js). Time that a hypervisor below takes
 * away cannot be told from ours: such a host gets more than one chance, and a hang has none.
 */
import { describe, expect, test } from 'vitest';
import { scratchFolder } from '../kvm/support/disks.js';
import { whyNoKvm } from '../kvm/support/guests.js';
import { type Ended, type ProgramOptions, runProgram } from './support/programs.js';
import { nodes } from './support/runtimes.js';

const scratch = scratchFolder();
const disk = scratch.file('disk.img', 2 ** 40); // of holes: more than any guest reads here
const mostMs = 1000;
const timed = { urgent: true };
const chances = { retry: 2 };

interface Way extends ProgramOptions {
  readonly how: string;
  /** What it is called, if not as the program's argument. */
  readonly name?: string;
  readonly code: number | null;
  /** In what the program writes to stderr, which is empty otherwise. */
  readonly says?: string;
  readonly files?: RegExp;
}

const profile = { options: ['--cpu-prof'], files: /^CPU\.[\w.]+\.cpuprofile$/ };
const ways: Way[] = [
  { how: 'exit', name: 'process.exit', code: 7 },
  { how: 'throw', name: 'an uncaught throw', code: 1, says: 'Error: thrown here' },
  { how: 'reject', name: 'an unhandled rejection', code: 1, says: 'Error: rejected here' },
  { how: 'unref', name: 'the natural end after unref', code: 0 },
  { how: 'kill', name: 'the natural end after kill', code: 0 },
  { how: 'dispose', name: 'the natural end after disposal', code: 0 },
  { how: 'signal', name: 'SIGINT', code: null, signal: 'SIGINT' },
  { how: 'exit', name: 'process.exit with --cpu-prof', code: 7, ...profile },
  { how: 'unref', name: 'the natural end with --cpu-prof', code: 0, ...profile },
];

const guests = [
  { guest: 'halt', does: 'that is idle' },
  { guest: 'spin', does: 'that keeps its vCPUs busy' },
  { guest: 'read', does: 'that reads its disk without an end' },
];

/** What a program that ended well printed. */
function clean(ended: Ended) {
  expect(ended).toMatchObject({ code: 0, signal: null, outlived: false, files: [], stderr: '' });
  return JSON.parse(ended.stdout);
}

describe.skipIf(whyNoKvm !== undefined).concurrent.each(nodes)('Node $version', ({ path: node }) => {
  /** What is the same for every guest is run once. */
  const runs = new Map<string, Promise<Ended>>();
  const withoutMachine = (name: string, args: string[], options: ProgramOptions = timed): Promise<Ended> => {
    const key = JSON.stringify([name, args, options]);
    const run = runs.get(key) ?? runProgram(node, name, args, options);
    runs.set(key, run);
    return run;
  };

  describe.each(guests)('with a guest $does', ({ guest }) => {
    test.each(ways)('$name', chances, async ({ how, code, says, files, ...options }) => {
      const without = await withoutMachine('end', [how, 'none'], { ...timed, ...options });
      const ended = await runProgram(node, 'end', [how, guest, disk], { ...timed, ...options });
      for (const { stderr } of [without, ended])
        expect(stderr).toEqual(says === undefined ? '' : expect.stringContaining(says));
      expect(ended).toMatchObject({ code, signal: options.signal ?? null, stdout: 'ready\n', outlived: false });
      expect(ended.files).toEqual(files === undefined ? [] : [expect.stringMatching(files)]);
      expect(ended.endMs - without.endMs).toBeLessThan(mostMs);
    });

    test('a report, a heap snapshot and the inspector, and the machine goes on', chances, async () => {
      const without = clean(await withoutMachine('observe', ['none']));
      const { took, workers, evaluated, state, reason } = clean(
        await runProgram(node, 'observe', [guest, disk], timed),
      );
      expect(evaluated).toEqual([42, 42, 42, 42]); // main, two vCPUs, I/O
      expect(workers).toBeGreaterThanOrEqual(2);
      expect([state, reason]).toEqual(['running', 'killed']);
      expect(Object.keys(took)).toEqual(['report', 'heap snapshot', 'inspector', 'kill']);
      for (const [what, ms] of Object.entries<number>(took)) expect(ms - without.took[what], what).toBeLessThan(mostMs);
    });

    test('a worker of the program ends, by its parent or by itself', chances, async () => {
      const without = clean(await withoutMachine('worker', ['none']));
      const { before, results } = clean(await runProgram(node, 'worker', [guest, disk], timed));
      expect(results.map(({ how }: { how: string }) => how)).toEqual([
        'terminate',
        'snapshot',
        'exit',
        'throw',
        'unref',
        'kill',
      ]);
      for (const [i, { how, took, left }] of results.entries()) {
        expect(left, how).toEqual(before);
        expect(took - without.results[i].took, how).toBeLessThan(mostMs);
      }
      expect(before.memory).toBe(0);
      expect(Object.keys(before).filter((kind) => kind.includes('kvm'))).toEqual([]);
    });
  });
});
