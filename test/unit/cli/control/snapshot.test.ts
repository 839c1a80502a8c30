/** `tsvmm snapshot NAME DIR` and `tsvmm resume --clock`, with a machine that writes what the test says. */
import { existsSync } from 'node:fs';
import { resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { MachineClient } from '../../../../src/cli/control/client.js';
import { snapshot } from '../../../../src/cli/control/commands/snapshot.js';
import { placeOf, runtimeDirectory } from '../../../../src/cli/control/runtime-directory.js';
import { Snapshot } from '../../../../src/machine/snapshot.js';
import { writeSnapshot } from '../../../../src/snapshot/write-snapshot.js';
import { ownRuntimeDirectory } from '../../../support/runtime-directory.js';
import { contentOf, MIB, pattern, SnapshotBench } from '../../support/snapshots.js';
import type { FakeMachine } from '../fake-machine.js';
import { tsvmm } from './tsvmm.js';
import { RawClient, until, withMachine } from './world.js';

ownRuntimeDirectory();
const bench = new SnapshotBench();
afterAll(() => bench.close());
const [first, second] = [bench.path('first'), bench.path('second')];
beforeAll(async () => {
  for (const place of [first, second]) {
    const pieces = [{ offset: 0, length: MIB, layer: bench.layer(MIB, { 0: pattern(MIB, 1) }), layerOffset: 0 }];
    await writeSnapshot(place, contentOf(pieces, { disks: [] }));
  }
});

/** Its snapshots are there already; of each is told to what it is the difference. */
function writes(machine: FakeMachine): (string | undefined)[] {
  const differences: (string | undefined)[] = [];
  machine.onSnapshot = async (directory, { diffFrom }) => {
    differences.push(diffFrom?.directory);
    return Snapshot.open(directory);
  };
  return differences;
}

describe('tsvmm snapshot', () => {
  it('writes to the directory that the caller means, wherever the machine runs', async () => {
    await withMachine('web', async ({ machine }) => {
      const directories: string[] = [];
      machine.onSnapshot = async (directory) => {
        directories.push(directory);
        return Snapshot.open(first);
      };
      expect(await tsvmm('snapshot web here/it')).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(directories).toEqual([resolve('here/it')]);
    });
  });

  it('--diff is to the last one that was taken', async () => {
    await withMachine('web', async ({ machine, control }) => {
      const differences = writes(machine);
      expect(await tsvmm(`snapshot web ${first} --diff`)).toEqual({
        code: 1,
        stdout: '',
        stderr:
          'tsvmm: web: there is no snapshot of it to which this could be the difference\nhint: leave out --diff: the first snapshot of a machine is a whole one\ncode: ERR_TSVMM_STATE (exit 1)\n',
      });
      expect(machine.calls).toEqual([]);
      await tsvmm(`snapshot web ${first}`);
      await tsvmm(`snapshot web ${second} --diff`);
      await tsvmm(`snapshot web ${first} --diff`);
      expect(differences).toEqual([undefined, first, second]);
      control.lastSnapshot = bench.path('gone');
      const { code, stderr } = await tsvmm(`snapshot web ${first} --diff`);
      expect(code).toBe(1);
      expect(stderr).toContain(`web: its last snapshot, "${bench.path('gone')}", is needed: `);
      expect(stderr).toContain('hint: leave out --diff, or put it back there\n');
      expect(differences.length).toBe(3);
    });
  });

  it('of a word that is nearly a command on snapshots says so', async () => {
    const { code, stderr } = await tsvmm('snapshot inspct a');
    expect(code).toBe(1);
    expect(stderr).toContain('no machine named inspct is running\nhint: did you mean inspect?');
  });

  it('one that failed is not the last one', async () => {
    await withMachine('web', async ({ machine, control }) => {
      machine.onSnapshot = () => Promise.reject(new Error('no room'));
      expect((await tsvmm(`snapshot web ${first}`)).code).toBe(1);
      expect(control.lastSnapshot).toBeUndefined();
    });
  });

  it.each([
    ['{"command":"snapshot"}', 'directory: it is not said where'],
    ['{"command":"snapshot","directory":"here"}', 'directory: "here" is not possible'],
    ['{"command":"snapshot","directory":"/a\\u0000"}', 'is not possible'],
    ['{"command":"snapshot","directory":"/a","diff":1}', 'diff: 1 is not possible'],
    [`{"command":"snapshot","directory":"/${'x'.repeat(4096)}"}`, 'is not possible'],
    ['{"command":"resume","clock":"late"}', 'clock: "late" is not possible'],
  ])('%.60s is refused', async (line, message) => {
    await withMachine('web', async ({ machine }) => {
      const client = await RawClient.connect('web');
      client.socket.write(`${line}\n`);
      const { error } = await client.answered(1);
      expect(error).toMatchObject({ code: 'ERR_TSVMM_CONFIG', message: expect.stringContaining(message) });
      expect(machine.calls).toEqual([]);
      client.socket.destroy();
    });
  });
});

describe('a snapshot that is being written', () => {
  /** Ends when it is given up, and says that it has. */
  function slow(machine: FakeMachine): { ended: boolean } {
    const state = { ended: false };
    machine.onSnapshot = (_directory, { signal }) =>
      new Promise((_, reject) => {
        signal!.addEventListener('abort', async () => {
          await delay(30); // what was written is removed
          state.ended = true;
          reject(signal!.reason);
        });
      });
    return state;
  }
  const begin = async (): Promise<MachineClient> => {
    const client = await MachineClient.connect(placeOf(runtimeDirectory(), 'web'), 'web');
    client.request(snapshot, { directory: '/there' }).catch(() => {});
    return client;
  };

  it('is given up when its client goes away', async () => {
    await withMachine('web', async ({ machine }) => {
      const state = slow(machine);
      const client = await begin();
      await until(() => machine.calls.length === 1);
      await delay(20);
      expect(state.ended).toBe(false);
      client.close();
      await until(() => state.ended);
      expect((await tsvmm('ps')).stdout).toContain(' running ');
    });
  });

  it('says how far it is to who asked for that', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.onSnapshot = async (_directory, { onProgress }) => {
        for (let done = 0; done <= 1000; done++) {
          onProgress?.(done * MIB, 1000 * MIB);
          await delay(0);
        }
        return Snapshot.open(first);
      };
      const shown = await tsvmm(`snapshot web ${first}`, ({ stderr }) => Object.assign(stderr, { isTTY: true }));
      expect(shown.code).toBe(0);
      const percents = Array.from(shown.stderr.matchAll(/\r(\d+) %/g), ([, percent]) => Number(percent));
      expect(percents.length).toBeGreaterThan(10);
      expect(percents).toEqual([...new Set(percents)].sort((a, b) => a - b));
      expect(shown.stderr.endsWith('\r\x1b[K')).toBe(true);
      expect(await tsvmm(`snapshot web ${first}`)).toEqual({ code: 0, stdout: '', stderr: '' }); // no terminal

      const client = await RawClient.connect('web');
      client.socket.write(`{"command":"snapshot","directory":"${first}"}\n`);
      expect(await client.answered(1)).toEqual({ result: {} });
      client.socket.destroy();
    });
  });

  it('that is interrupted has been given up when its command ends', async () => {
    await withMachine('web', async ({ machine }) => {
      const state = slow(machine);
      const { code, stderr } = await tsvmm('snapshot web there', async ({ signals }) => {
        await until(() => machine.calls.length === 1);
        signals.emit('SIGINT', 'SIGINT');
      });
      expect({ code, stderr, ...state }).toEqual({ code: 130, stderr: '', ended: true });
    });
  });

  it('of a client that floods takes no more of it, and goes on', async () => {
    await withMachine('web', async ({ machine }) => {
      const state = slow(machine);
      const client = await RawClient.connect('web');
      client.socket.write('{"command":"snapshot","directory":"/there"}\n');
      await until(() => machine.calls.length === 1);
      client.socket.write(Buffer.alloc(8 << 20, 'x'));
      await delay(50);
      expect(client.socket.writableLength).toBeGreaterThan(0);
      expect(state.ended).toBe(false);
      client.socket.destroy();
    });
  });

  it('is given up when the machine ends, which waits for that', async () => {
    let state = { ended: false };
    let answer: Promise<unknown> = Promise.resolve();
    await withMachine('web', async ({ machine }) => {
      state = slow(machine);
      const client = await MachineClient.connect(placeOf(runtimeDirectory(), 'web'), 'web');
      answer = client.request(snapshot, { directory: '/there' });
      answer.catch(() => {});
      await until(() => machine.calls.length === 1);
      machine.end({ reason: 'power-off' });
    });
    expect(state.ended).toBe(true);
    await expect(answer).rejects.toThrow('web: the machine has ended before that was done');
    expect(existsSync('/there')).toBe(false);
  });
});

it('tsvmm resume says what becomes of the clocks', async () => {
  await withMachine('web', async ({ machine }) => {
    expect((await tsvmm('resume web --clock keep')).code).toBe(0);
    expect((await tsvmm('resume web')).code).toBe(0);
    expect(machine.calls).toEqual(['resume keep', 'resume']);
    const { code, stderr } = await tsvmm('resume web --clock kep');
    expect(code).toBe(2);
    expect(stderr).toContain('--clock "kep" does not exist\nhint: did you mean keep?');
  });
});
