/** `tsvmm fork NAME`, and how machines of one process end together. */
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { afterEach, describe, expect, it } from 'vitest';
import { runtimeDirectory } from '../../../../src/cli/control/runtime-directory.js';
import { TsvmmError } from '../../../../src/errors.js';
import { ownRuntimeDirectory } from '../../../support/runtime-directory.js';
import type { FakeMachine } from '../fake-machine.js';
import { play } from '../play.js';
import { tsvmm } from './tsvmm.js';
import { RawClient, until, withMachine } from './world.js';

ownRuntimeDirectory();
const files = (): string[] => readdirSync(runtimeDirectory());
afterEach(() => expect(files()).toEqual([]));

const names = async (): Promise<string[]> =>
  JSON.parse((await tsvmm('ps --json')).stdout).machines.map(({ name }: { name: string }) => name);
const endAll = (machine: FakeMachine): void => {
  for (const each of [...machine.forks.flatMap(({ forks }) => forks), ...machine.forks, machine])
    each.end({ reason: 'power-off' });
};

describe('tsvmm fork', () => {
  it('prints the name of the fork, which can be reached as any machine, and forked itself', async () => {
    await withMachine('web', async ({ machine }) => {
      expect(await tsvmm('fork web')).toEqual({ code: 0, stdout: 'web-fork1\n', stderr: '' });
      expect(await tsvmm('fork web --clock keep')).toMatchObject({ stdout: 'web-fork2\n' });
      expect(await tsvmm('fork web-fork1 --name deep --json')).toMatchObject({ stdout: '{"names":["deep"]}\n' });
      expect(machine.calls).toEqual(['fork web-fork1', 'fork web-fork2 keep']);
      expect(JSON.parse((await tsvmm('ps --json')).stdout).machines).toMatchObject(
        ['deep', 'web', 'web-fork1', 'web-fork2'].map((name) => ({
          ...{ name, pid: process.pid, state: 'running', memory: 64 << 20, cpus: 2 },
        })),
      );
      await tsvmm('pause web-fork1');
      expect(machine.forks[0]!.calls).toEqual(['fork deep', 'pause']);
      machine.forks[1]!.console.show('here');
      const shown = await tsvmm('console web-fork2', async ({ stdin, stdout }) => {
        await until(() => stdout.text === 'here');
        stdin.write('typed');
        await until(() => machine.forks[1]!.console.typed === 'typed');
        machine.forks[1]!.console.show('bye');
        machine.forks[1]!.end({ reason: 'power-off' });
      });
      expect(shown).toMatchObject({ code: 0, stdout: 'herebye' });
      expect(await names()).toEqual(['deep', 'web', 'web-fork1']);
      expect((await tsvmm('stop web-fork1')).code).toBe(0);
      expect(await names()).toEqual(['deep', 'web']);
      expect(machine.calls.length).toBe(2);
      endAll(machine);
    });
  });

  it('makes many of one moment, with numbers', async () => {
    await withMachine('web', async ({ machine }) => {
      expect((await tsvmm('fork web --count 2')).stdout).toBe('web-fork1\nweb-fork2\n');
      expect((await tsvmm('fork web --count 12 --name w')).stdout.split('\n').at(-2)).toBe('w-12');
      expect(machine.calls[0]).toBe('fork web-fork1,web-fork2');
      expect(machine.forks.length).toBe(14);
      expect((await names()).length).toBe(15);
      endAll(machine);
    });
  });

  it('finds names for all who ask at once, and tells what forks warn of', async () => {
    await withMachine('web', async ({ machine, steps }) => {
      const said = await Promise.all([1, 2, 3].map(() => tsvmm('fork web --count 3')));
      const made = said.flatMap(({ stdout }) => stdout.trim().split('\n'));
      expect(made.sort()).toEqual(Array.from({ length: 9 }, (_, i) => `web-fork${i + 1}`));
      machine.forks[2]!.emit('warning', { source: 'device', device: 'disk0', message: 'late', suppressed: 0 });
      expect(steps).toEqual(['web-fork3: warning: disk0: late']);
      endAll(machine);
    });
  });

  it('is refused where a name is in use, and nothing is forked', async () => {
    await withMachine('web', async ({ machine }) => {
      await withMachine('w-2', async () => {
        const { code, stdout, stderr } = await tsvmm('fork web --name w --count 3');
        expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
        expect(stderr).toContain(`tsvmm: web: the name w-2 is in use by pid ${process.pid}\n`);
        expect((await tsvmm('fork web --name web')).stderr).toContain('the name web is in use by');
        expect(machine.calls).toEqual([]);
        expect(await names()).toEqual(['w-2', 'web']);
      });
    });
  });

  it('that fails leaves no names', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.fork = () =>
        Promise.reject(new TsvmmError('ERR_TSVMM_STATE', 'a machine that is stopping cannot be forked'));
      expect(await tsvmm('fork web --count 3')).toMatchObject({
        code: 1,
        stderr: 'tsvmm: web: a machine that is stopping cannot be forked\ncode: ERR_TSVMM_STATE (exit 1)\n',
      });
      expect(await names()).toEqual(['web']);
    });
  });

  it('of which one cannot be served leaves none', async () => {
    await withMachine('web', async ({ machine, control }) => {
      const make = machine.fork.bind(machine);
      machine.fork = async (how) => {
        const made = await make(how);
        made[1]!.on = () => {
          throw new Error('no room');
        };
        return made;
      };
      await expect(control.fork({ count: 3 })).rejects.toThrow('no room');
      expect(machine.forks.map(({ calls }) => calls)).toEqual([['kill'], ['kill'], ['kill']]);
      await until(() => files().length === 2);
    });
  });

  it.each([
    ['--count 0', '--count "0" is not a count'],
    ['--count 101', '--count 101 is too many'],
    ['--count many', '--count "many" is not a count'],
    ['--name a/b', '--name: "a/b" cannot be a name'],
    ['--clock late', '--clock "late" does not exist'],
  ])('%s is refused', async (words, message) => {
    await withMachine('web', async ({ machine }) => {
      const { code, stderr } = await tsvmm(`fork web ${words}`);
      expect(code).toBe(2);
      expect(stderr).toContain(`tsvmm: ${message}`);
      expect(machine.calls).toEqual([]);
    });
  });

  it.each([
    '{"command":"fork","count":101}',
    '{"command":"fork","count":"2"}',
    '{"command":"fork","name":"../x"}',
    `{"command":"fork","name":"${'x'.repeat(63)}","count":10}`,
  ])('%.50s is refused, whoever sends it', async (line) => {
    await withMachine('web', async ({ machine }) => {
      const client = await RawClient.connect('web');
      client.socket.write(`${line}\n`);
      expect((await client.answered(1))['error']).toMatchObject({ code: 'ERR_TSVMM_CONFIG' });
      expect(machine.calls).toEqual([]);
      client.socket.destroy();
    });
  });
});

describe('a process with forks', () => {
  it('stays until all have ended, and has the exit code of the one that is no fork', async () => {
    let forks: FakeMachine[] = [];
    const { code, stdout, stderr } = await play(['d.img', '--name', 'web'], async (machine) => {
      await tsvmm('fork web --count 2');
      forks = machine.forks;
      forks[0]!.console.show('of a fork');
      machine.console.show('its own');
      machine.end({ reason: 'panic', message: 'oh' });
      await machine.exited;
      while ((await names()).includes('web')) await delay(2);
      expect(await names()).toEqual(['web-fork1', 'web-fork2']);
      forks[1]!.end({ reason: 'panic', message: 'another' });
      while ((await names()).length > 1) await delay(2);
      expect((await tsvmm('fork web-fork1 --name last')).code).toBe(0);
      forks[0]!.end({ reason: 'power-off' });
      while ((await names()).length > 1) await delay(2);
      expect(await names()).toEqual(['last']);
      forks[0]!.forks[0]!.end({ reason: 'power-off' });
    });
    expect({ code, stdout }).toEqual({ code: 3, stdout: 'its own' });
    expect(stderr).toContain('tsvmm: waiting for forks to end: web-fork1, web-fork2\n');
    expect(stderr).toContain('tsvmm: web-fork2 has ended (panic)\n');
  });

  it.each(['SIGTERM', 'SIGINT'])('%s asks all, once more forces all', async (signal) => {
    let all: FakeMachine[] = [];
    const { stderr, left } = await play(['d.img', '--name', 'web'], async (machine, world) => {
      await tsvmm('fork web --count 2');
      all = [machine, ...machine.forks];
      for (const each of all) each.onStop = () => {};
      world.signal(signal);
      expect(all.map(({ calls }) => calls.at(-1))).toEqual(['stop', 'stop', 'stop']);
      world.signal(signal);
    });
    expect(all.map(({ calls }) => calls.slice(-2))).toEqual(Array(3).fill(['stop', 'kill']));
    expect(left).toEqual([]);
    expect(stderr).toContain(`tsvmm: web-fork2: asking the guest to power off: ${signal} (once more forces it off)\n`);
    expect(stderr).toContain('tsvmm: web-fork1: forcing the guest off\n');
  });

  it('a signal asks forks also when their parent has ended', async () => {
    const { code, left } = await play(['d.img', '--name', 'web'], async (machine, { signal }) => {
      await tsvmm('fork web');
      const [fork] = machine.forks;
      fork!.onStop = () => {};
      machine.end({ reason: 'power-off' });
      while ((await names()).includes('web')) await delay(2);
      signal('SIGTERM');
      expect(fork!.calls).toEqual(['stop']);
      signal('SIGTERM');
      expect(fork!.calls).toEqual(['stop', 'kill']);
    });
    expect({ code, left }).toEqual({ code: 0, left: [] });
  });

  it('a third signal leaves at once', async () => {
    const { left } = await play(['d.img', '--name', 'web'], async (machine, { signal }) => {
      await tsvmm('fork web');
      const [fork] = machine.forks;
      fork!.onStop = () => {};
      fork!.kill = () => fork!.exited; // hangs
      for (let i = 0; i < 3; i++) signal('SIGTERM');
      await delay(5);
      fork!.end({ reason: 'killed' });
    });
    expect(new Set(left)).toEqual(new Set([143])); // the first one leaves
  });

  it('tsvmm stop and --until end one machine, --timeout all', async () => {
    await play(['d.img', '--name', 'web', '--until', 'done'], async (machine) => {
      await tsvmm('fork web --count 2');
      await tsvmm('stop web-fork1');
      expect(machine.calls).not.toContain('stop');
      machine.console.show('done');
      await machine.exited;
      expect(machine.forks[1]!.calls).toEqual([]);
      expect((await tsvmm('stop web-fork2')).code).toBe(0);
    });
    let forks: FakeMachine[] = [];
    const { code } = await play(['d.img', '--name', 'web', '--timeout', '300ms'], async (machine) => {
      await tsvmm('fork web');
      forks = machine.forks;
    });
    expect(code).toBe(124);
    expect(forks[0]!.calls).toEqual(['stop']);
  });

  it('a fork that comes after a signal is asked as well', async () => {
    await play(['d.img', '--name', 'web'], async (machine, { signal }) => {
      const make = machine.fork.bind(machine);
      machine.onStop = () => {};
      machine.fork = async (how) => {
        signal('SIGTERM');
        return make(how);
      };
      await tsvmm('fork web');
      expect(machine.forks[0]!.calls).toEqual(['stop']);
      machine.end({ reason: 'power-off' });
    });
  });
});
