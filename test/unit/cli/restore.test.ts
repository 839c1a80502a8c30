/** `tsvmm restore DIR` on a fake machine: what differs from `tsvmm run`. */
import { EventEmitter } from 'node:events';
import { resolve } from 'node:path';
import { PassThrough } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { parseRestore, restore } from '../../../src/cli/restore.js';
import { TsvmmError } from '../../../src/errors.js';
import type { RestoreOptions } from '../../../src/machine/restore.js';
import { writeSnapshot } from '../../../src/snapshot/write-snapshot.js';
import { ownRuntimeDirectory } from '../../support/runtime-directory.js';
import { contentOf, MIB, pattern, SnapshotBench } from '../support/snapshots.js';
import { tsvmm } from './control/tsvmm.js';
import { FakeMachine } from './fake-machine.js';
import { Sink } from './play.js';

ownRuntimeDirectory();
const bench = new SnapshotBench();
afterAll(() => bench.close());
const directory = bench.path('monday');
beforeAll(async () => {
  const layer = bench.layer(32 * MIB, { 0: pattern(MIB, 1) });
  await writeSnapshot(directory, contentOf([{ offset: 0, length: 32 * MIB, layer, layerOffset: 0 }], { disks: [] }));
});

/** `tsvmm restore ARGV`; `act` plays the guest and the user. */
async function play(argv: string[], act: (machine: FakeMachine) => unknown, fails?: Error) {
  const [stdout, stderr] = [new Sink(), new Sink()];
  const asked: [string, RestoreOptions][] = [];
  const signals = new EventEmitter();
  const io = { stdin: new PassThrough(), stdout, stderr, signals, exitNow() {} };
  const code = await restore(
    parseRestore(argv)!,
    async (from, options) => {
      asked.push([from, options]);
      if (fails) throw fails;
      const machine = new FakeMachine({ name: options.name ?? 'saved' });
      setImmediate(() => act(machine));
      return machine;
    },
    io,
  );
  expect(signals.eventNames()).toEqual([]);
  return { code, stdout: stdout.text, stderr: stderr.text, asked };
}

describe('tsvmm restore', () => {
  it('shows the console and ends as the guest does', async () => {
    const { code, stdout, stderr, asked } = await play(['here/monday'], (machine) => {
      machine.console.show('on it goes\n');
      machine.end({ reason: 'power-off' });
    });
    expect({ code, stdout, stderr }).toEqual({ code: 0, stdout: 'on it goes\n', stderr: '' });
    const console = { whenUnread: 'block' }; // whatever made the snapshot
    expect(asked).toEqual([[resolve('here/monday'), { signal: expect.any(AbortSignal), name: undefined, console }]]);
  });

  it('hands over name and clocks, and is reached by the name with the size of the snapshot', async () => {
    const { asked } = await play([directory, '--name', 'web', '--clock', 'keep'], async (machine) => {
      const { machines } = JSON.parse((await tsvmm('ps --json')).stdout);
      expect(machines).toMatchObject([{ name: 'web', state: 'running', memory: 32 * MIB, cpus: 1 }]);
      machine.end({ reason: 'power-off' });
    });
    expect(asked[0]![1]).toMatchObject({ name: 'web', clock: 'keep' });
  });

  it('a difference can be one to what it was restored from', async () => {
    await play([directory, '--name', 'web'], async (machine) => {
      const from: (string | undefined)[] = [];
      machine.onSnapshot = async (_place, { diffFrom }) => {
        from.push(diffFrom?.directory);
        throw new Error('enough');
      };
      await tsvmm('snapshot web tuesday --diff');
      expect(from).toEqual([directory]);
      machine.end({ reason: 'power-off' });
    });
  });

  it.each([
    [['--clock', 'late'], '--clock "late" does not exist'],
    [['--name', 'a b'], '--name: "a b" cannot be a name'],
    [['--timeout', 'soon'], '--timeout'],
    [['--until', ''], '--until needs a text'],
  ])('%j is refused before anything is done', async (argv, message) => {
    const { code, stderr, asked } = await play([directory, ...argv], () => {});
    expect(code).toBe(2);
    expect(stderr).toContain(`tsvmm: ${message}`);
    expect(asked).toEqual([]);
  });

  it('says why a snapshot will not do, with a name before that is taken', async () => {
    const error = new TsvmmError('ERR_TSVMM_SNAPSHOT', 'it is damaged', { hint: 'take another' });
    const { code, stderr } = await play([directory], () => {}, error);
    expect(code).toBe(1);
    expect(stderr).toBe('tsvmm: it is damaged\nhint: take another\ncode: ERR_TSVMM_SNAPSHOT (exit 1)\n');
    const nowhere = await play([bench.path('nowhere'), '--name', 'web'], () => {});
    expect(nowhere).toMatchObject({ code: 1, asked: [] });
    expect((await tsvmm('ps --json')).stdout).toBe('{"machines":[]}\n');
  });

  it('explains no boot: there was none', async () => {
    const missed = await play([directory, '--until', 'done', '--timeout', '10ms'], () => {});
    expect(missed.code).toBe(124);
    expect(missed.stderr).toContain('--timeout expired, and the guest never showed "done" (exit 124)\n');
    expect(missed.stderr).not.toMatch(/login prompt|cause:|try:/);
    const late = await play([directory, '--timeout', '10ms'], () => {});
    expect(late.stderr).toContain('tsvmm: --timeout expired (exit 124)\n');
    const { code, stderr } = await play([directory], (machine) =>
      machine.end({ reason: 'panic', message: 'Attempted to kill init!', consoleTail: 'Attempted to kill init!' }),
    );
    expect(code).toBe(3);
    expect(stderr).toContain('tsvmm: the guest panicked: Attempted to kill init!\n');
    expect(stderr).not.toMatch(/cause:|try:/);
  });
});
