/** `tsvmm ps` and the commands on a machine, as the command line calls them. */

import { mkdirSync, readdirSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { afterEach, describe, expect, it } from 'vitest';
import { complete } from '../../../../src/cli/complete.js';
import { NameClaim } from '../../../../src/cli/control/name-claim.js';
import { duration } from '../../../../src/cli/control/ps.js';
import { placeOf, runtimeDirectory } from '../../../../src/cli/control/runtime-directory.js';
import { TsvmmError } from '../../../../src/errors.js';
import { ownRuntimeDirectory } from '../../../support/runtime-directory.js';
import { play } from '../play.js';
import { tsvmm } from './tsvmm.js';
import { socketOf, until, withMachine } from './world.js';

ownRuntimeDirectory();
afterEach(() => rmSync(runtimeDirectory(), { recursive: true, force: true }));

describe('tsvmm ps', () => {
  it('lists nothing where there is nothing', async () => {
    expect(await tsvmm('ps')).toEqual({ code: 0, stdout: 'NAME  PID  STATE  UPTIME  MEMORY  CPUS\n', stderr: '' });
    expect(await tsvmm('ps --json')).toEqual({ code: 0, stdout: '{"machines":[]}\n', stderr: '' });
  });

  it('lists machines by name, for people and for programs', async () => {
    await withMachine('web', async ({ machine }) => {
      await withMachine('db', async () => {
        await machine.pause();
        const { stdout } = await tsvmm('ps');
        const rows = stdout.split('\n').map((line) => line.split(/ {2,}/));
        expect(rows).toEqual([
          ['NAME', 'PID', 'STATE', 'UPTIME', 'MEMORY', 'CPUS'],
          ['db', String(process.pid), 'running', '0s', '64M', '2'],
          ['web', String(process.pid), 'paused', '0s', '64M', '2'],
          [''],
        ]);
        const common = { pid: process.pid, uptimeMs: expect.any(Number), memory: 64 << 20, cpus: 2 };
        expect(JSON.parse((await tsvmm('ps --json')).stdout)).toEqual({
          machines: [
            { name: 'db', state: 'running', ...common },
            { name: 'web', state: 'paused', ...common },
          ],
        });
      });
    });
  });

  it('removes what killed processes left, and nothing else', async () => {
    await withMachine('web', async () => {
      const dead = createServer();
      await new Promise<void>((resolve) => dead.listen(socketOf('dying'), resolve));
      // As after SIGKILL: nobody listens, and the file is there.
      renameSync(socketOf('dying'), socketOf('dead'));
      dead.close();
      writeFileSync(socketOf('dead').replace('.sock', '.lock'), '1\n');
      writeFileSync(socketOf('dead2').replace('.sock', '.lock'), '1\n');
      writeFileSync(`${runtimeDirectory()}/notes.txt`, '');
      expect(JSON.parse((await tsvmm('ps --json')).stdout).machines).toMatchObject([{ name: 'web' }]);
      expect(readdirSync(runtimeDirectory()).sort()).toEqual(['notes.txt', 'web.lock', 'web.sock']);
    });
  });

  it('tells of what it cannot make out, beside the others', async () => {
    await withMachine('web', async () => {
      const claim = NameClaim.take(placeOf(runtimeDirectory(), 'odd'))!;
      const server = createServer((socket) => socket.end('{"tsvmm":99}\n'));
      await new Promise<void>((resolve) => server.listen(socketOf('odd'), resolve));
      mkdirSync(`${runtimeDirectory()}/folder.lock`);
      const { code, stdout, stderr } = await tsvmm('ps');
      expect(code).toBe(0);
      expect(stdout).toMatch(/^folder +- +unknown +- +- +-$/m);
      expect(stdout).toMatch(new RegExp(`^odd +${process.pid} +unknown +- +- +-$`, 'm'));
      expect(stdout).toMatch(/^web .* running/m);
      expect(stderr).toContain('tsvmm: odd: it speaks version 99 of the protocol, and this is version 1\n');
      expect(stderr).toContain('folder.lock cannot be made and locked (EISDIR)');
      server.close();
      claim.release();
    });
  });

  it('refuses a folder that is not the user’s alone, as a JSON object too', async () => {
    symlinkSync('/tmp', runtimeDirectory());
    const { code, stdout, stderr } = await tsvmm('ps --json');
    expect(code).toBe(2);
    expect(JSON.parse(stdout).error).toMatchObject({ code: 'ERR_TSVMM_CONFIG' });
    expect(stderr).toMatch(/^tsvmm: the folder for the sockets of machines, .* is a symbolic link\nhint: /);
    rmSync(runtimeDirectory());
  });

  it.each([
    [0, '0s'],
    [999, '0s'],
    [59_000, '59s'],
    [60_000, '1m 0s'],
    [3_723_000, '1h 2m'],
    [90_061_000, '1d 1h'],
    [86_400_000, '1d 0h'],
  ])('shows %i ms as %s', (ms, text) => expect(duration(ms)).toBe(text));
});

describe('the commands', () => {
  it('pause, resume and stop a machine', async () => {
    await withMachine('web', async ({ machine }) => {
      for (const verb of ['pause', 'resume', 'stop'])
        expect(await tsvmm(`${verb} web`)).toEqual({ code: 0, stdout: '', stderr: '' });
      expect(machine.calls).toEqual(['pause', 'resume', 'stop']);
    });
  });

  it('stop says when the guest had to be forced off, unless that was asked for', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.onStop = () => {};
      expect(await tsvmm('stop web --timeout 20ms')).toEqual({
        code: 0,
        stdout: '',
        stderr: 'tsvmm: web did not power off in time, and was forced off\n',
      });
    });
    await withMachine('web', async () => {
      expect(await tsvmm('stop web --kill')).toEqual({ code: 0, stdout: '', stderr: '' });
    });
    await withMachine('web', async ({ machine }) => {
      machine.onStop = () => machine.end({ reason: 'panic', message: 'x' });
      expect((await tsvmm('stop web')).stderr).toBe('tsvmm: web has ended (panic)\n');
    });
  });

  it.each([
    ['pause web', 1, 'tsvmm: no machine named web is running\nhint: did you mean web2? tsvmm ps'],
    [
      'console other',
      1,
      'tsvmm: no machine named other is running\nhint: tsvmm ps lists those that run\ncode: ERR_TSVMM_STATE (exit 1)',
    ],
    ['pause ../web', 2, 'tsvmm: NAME: "../web" cannot be a name\nhint: use letters'],
    [`pause ${'x'.repeat(65)}`, 2, 'cannot be a name'],
    ['stop web2 --timeout 5', 2, 'tsvmm: --timeout: "5" is not a duration'],
    ['stop web2 --timeout 5s --kill', 2, 'tsvmm: --timeout and --kill exclude each other'],
    ['stop', 2, "tsvmm: missing required argument 'machine'"],
    ['pause web2 --force', 2, "tsvmm: unknown option '--force'"],
    ['kill web2', 2, "tsvmm: unknown command 'kill'\nhint: did you mean stop --kill?"],
  ])('%s is a mistake', async (words, code, message) => {
    await withMachine('web2', async ({ machine }) => {
      const said = await tsvmm(words);
      expect(said).toMatchObject({ code, stdout: '' });
      expect(said.stderr).toContain(message);
      expect(machine.calls).toEqual([]);
    });
  });

  it('say what the machine answers, as a refusal and no failure inside', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.pause = () =>
        Promise.reject(new TsvmmError('ERR_TSVMM_STATE', 'a machine that is stopping cannot be paused'));
      expect(await tsvmm('pause web')).toEqual({
        code: 1,
        stdout: '',
        stderr: 'tsvmm: web: a machine that is stopping cannot be paused\ncode: ERR_TSVMM_STATE (exit 1)\n',
      });
    });
  });

  it('say when the machine’s process is gone before it answers', async () => {
    let socket: Socket | undefined;
    await withMachine('web', async () => {}); // makes the folder
    const server = createServer((connection) => {
      socket = connection;
      connection.write('{"tsvmm":1,"name":"fake","pid":1}\n');
      connection.once('data', () => connection.destroy());
    }).listen(socketOf('fake'));
    expect(await tsvmm('pause fake')).toMatchObject({
      code: 1,
      stderr: expect.stringContaining('tsvmm: fake: the connection was lost\nhint: '),
    });
    server.close();
    socket?.destroy();
  });
});

describe('tsvmm console', () => {
  it('shows the console and gives it what comes in, until the machine ends', async () => {
    await withMachine('web', async ({ machine, control }) => {
      machine.console.show('login: ');
      const said = await tsvmm('console web', async ({ stdin, stdout }) => {
        await until(() => stdout.text === 'login: ');
        stdin.end('root\x1d\n');
        await until(() => machine.console.typed === 'root\x1d\n');
        machine.console.show('bye\n');
        machine.end({ reason: 'power-off' });
        await machine.exited;
        await until(() => stdout.text.endsWith('bye\n'));
        await control.close();
      });
      expect(said).toEqual({ code: 0, stdout: 'login: bye\n', stderr: 'tsvmm: web has ended (power-off)\n' });
    });
  });

  it.each([
    ['SIGINT', 130],
    ['SIGTERM', 143],
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
  ])('leaves at %s, and the machine goes on', async (signal, code) => {
    await withMachine('web', async ({ machine }) => {
      machine.console.show('up');
      const said = await tsvmm('console web', async ({ stdout, signals }) => {
        await until(() => stdout.text === 'up');
        signals.emit(signal);
      });
      expect(said).toEqual({ code, stdout: 'up', stderr: '' });
      expect(machine.calls).toEqual([]);
    });
  });

  it('leaves when its reader does', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.console.show('up');
      const { code } = await tsvmm('console web', async ({ stdout }) => {
        await until(() => stdout.text === 'up');
        stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }));
      });
      expect(code).toBe(141);
      expect(machine.calls).toEqual([]);
    });
  });

  it('says when the machine’s process is gone', async () => {
    await withMachine('web', async () => {}); // makes the folder
    const server = createServer((socket) => {
      socket.write('{"tsvmm":1,"name":"fake","pid":1}\n');
      socket.once('data', () => {
        socket.write('{"result":{}}\n');
        setImmediate(() => socket.destroy());
      });
    }).listen(socketOf('fake'));
    const { code, stderr } = await tsvmm('console fake');
    expect(code).toBe(1);
    expect(stderr).toMatch(/^tsvmm: fake: the connection was lost\nhint: its tsvmm run has ended/);
    server.close();
  });
});

describe('tsvmm run --name', () => {
  it('is refused while the name is in use, before anything is done', async () => {
    await withMachine('web', async () => {
      const { code, stderr, machine } = await play(
        ['d.img', '--name', 'web', '--timeline', '/nowhere/x.html'],
        () => {},
      );
      expect(code).toBe(2);
      expect(machine).toBeUndefined();
      expect(stderr).toBe(
        `tsvmm: the name web is in use by pid ${process.pid}\nhint: choose another --name, or end that machine first: tsvmm stop web\ncode: ERR_TSVMM_CONFIG (exit 2)\n`,
      );
    });
  });

  it.each(['-web', '.web', 'a/b', '', 'x'.repeat(65)])('refuses the name %j', async (name) => {
    const { code, stderr } = await play(['d.img', `--name=${name}`], () => {});
    expect(code).toBe(2);
    expect(stderr).toContain('cannot be a name');
  });

  it('refuses a path that is too long for a socket', async () => {
    const before = process.env['XDG_RUNTIME_DIR'];
    process.env['XDG_RUNTIME_DIR'] = `/tmp/${'d'.repeat(90)}`;
    try {
      const { code, stderr } = await play(['d.img', '--name', 'machine'], () => {});
      expect(code).toBe(2);
      expect(stderr).toContain('the path of a socket ends at 107 bytes');
    } finally {
      process.env['XDG_RUNTIME_DIR'] = before;
    }
  });

  it('leaves no files, however it ends', async () => {
    const left = (): string[] => readdirSync(runtimeDirectory());
    const start = (): Promise<never> => Promise.reject(new Error('no kvm'));
    await play(['d.img', '--name', 'web'], (vm) => {
      expect(left()).toEqual(['web.lock', 'web.sock']);
      vm.end({ reason: 'panic', message: 'x' });
    });
    expect(left()).toEqual([]);
    expect((await play(['d.img', '--name', 'web'], () => {}, { start })).code).toBe(4);
    expect(left()).toEqual([]);
    await play(['d.img', '--name', 'web'], (_vm, { signal }) => signal('SIGTERM'));
    expect(left()).toEqual([]);
  });

  it('is paused, shown and stopped from outside, and says by whom', async () => {
    const { code, stdout, stderr, machine } = await play(
      ['d.img', '--name', 'web', '-m', '1G', '-c', 'sockets=2,cores=2'],
      async (vm) => {
        vm.console.show('hello');
        const { machines } = JSON.parse((await tsvmm('ps --json')).stdout);
        expect(machines).toMatchObject([{ name: 'web', state: 'running', memory: 2 ** 30, cpus: 4 }]);
        await tsvmm('pause web');
        expect((await tsvmm('ps')).stdout).toContain(' paused ');
        await tsvmm('stop web --timeout 5s');
      },
    );
    expect(code).toBe(0);
    expect(stdout).toBe('hello');
    expect(stderr).toBe('tsvmm: asking the guest to power off: tsvmm stop (once more forces it off)\n');
    expect(machine?.stopTimeout).toBe(5000);
  });

  it('is 143 when tsvmm stop forced it, and its events have the cause', async () => {
    const { code, events } = await play(['d.img', '--name', 'web', '--json'], async (vm) => {
      vm.onStop = () => {};
      await tsvmm('stop web --kill');
    });
    expect(code).toBe(143);
    expect(events).toContainEqual(expect.objectContaining({ event: 'ending', cause: 'stop', forced: true }));
  });

  it('opens nothing without a name', async () => {
    await play(['d.img'], async (vm) => {
      expect((await tsvmm('ps --json')).stdout).toBe('{"machines":[]}\n');
      vm.end({ reason: 'power-off' });
    });
    expect(() => readdirSync(runtimeDirectory())).toThrow('ENOENT');
  });
});

it('completion knows the machines’ names', async () => {
  expect(await complete('machine', '', ['pause', ''])).toEqual([]);
  await withMachine('web', async () => {
    expect(await complete('machine', '', ['pause', ''])).toEqual(['web']);
  });
  rmSync(runtimeDirectory(), { recursive: true });
  writeFileSync(runtimeDirectory(), '');
  expect(await complete('machine', '', ['pause', ''])).toEqual([]);
});
