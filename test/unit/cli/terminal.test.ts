/** The terminal on every way out, on a pseudo-terminal of util-linux's script(1). */
import { execFileSync, spawn } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, readlinkSync, rmSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { stripVTControlCharacters } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { FromMachine, frame } from '../../../src/cli/control/frames.js';
import { packageRoot } from '../../../src/host/addon.js';
import { isForeground } from '../../../src/host/terminal.js';
import { ownRuntimeDirectory } from '../../support/runtime-directory.js';
import { socketOf, withMachine } from './control/world.js';

const hasScript = (() => {
  try {
    return execFileSync('script', ['--version'], { encoding: 'utf8' }).includes('util-linux');
  } catch {
    return false;
  }
})();

const runtime = ownRuntimeDirectory();
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-terminal-'));
/** Inside the package, where the addon is found. */
const program = join(packageRoot(), '.cache/test', `${basename(folder)}.mjs`);

interface Played {
  /** What the terminal showed. */
  screen: string;
  /** Lines that the program traced, by their first word. */
  trace: Record<string, string>;
  code: number;
  before: string;
  after: string;
}

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await delay(10);
}
/** The terminal of that process hands over every key as it comes. */
const isRaw = (pid: number): boolean =>
  execFileSync('stty', ['-a', '-F', readlinkSync(`/proc/${pid}/fd/0`)], { encoding: 'utf8' }).includes('-icanon');
const isStopped = (pid: number): boolean => /^\d+ \(.*\) T /.test(readFileSync(`/proc/${pid}/stat`, 'latin1'));

/** Runs the program on a terminal; `act` types on it once the guest is up. Without words: `tsvmm run` of a machine of that name. */
async function onTerminal(
  name: string,
  act: (keyboard: {
    pid: number;
    type(text: string): Promise<void>;
    kill(signal: NodeJS.Signals): void;
  }) => Promise<void>,
  words = `run d.img --name ${name}`,
): Promise<Played> {
  const file = (kind: string) => join(folder, `${name}-${kind}`);
  const shell = [
    `stty cols 100 rows 30; stty -g > ${file('before')}`,
    `'${process.execPath}' ${program} ${words}`,
    `echo $? > ${file('code')}; stty -g > ${file('after')}`,
  ].join('\n');
  const child = spawn('script', ['-qec', shell, '/dev/null'], {
    stdio: ['pipe', 'pipe', 'inherit'],
    env: { PATH: process.env['PATH'], TERM: 'xterm', TRACE: file('trace'), SHELL: '/bin/sh', XDG_RUNTIME_DIR: runtime },
  });
  let screen = '';
  child.stdout.on('data', (chunk: Buffer) => {
    screen += chunk.toString('latin1');
  });
  const ended = new Promise((resolve) => child.once('close', resolve));
  const tracked = () => (existsSync(file('trace')) ? readFileSync(file('trace'), 'utf8') : '');
  while (!screen.includes('guest is up') && child.exitCode === null) await delay(10);
  const pid = Number(/^pid (\d+)/.exec(tracked())?.[1]);
  await until(() => isRaw(pid));
  await act({
    pid,
    async type(text) {
      child.stdin.write(text, 'latin1');
      await delay(100);
    },
    kill: (signal) => void process.kill(pid, signal),
  });
  await ended;
  const read = (kind: string) => readFileSync(file(kind), 'utf8').trim();
  const trace = Object.fromEntries(
    tracked()
      .trim()
      .split('\n')
      .map((line) => [line.split(' ')[0]!, line.slice(line.indexOf(' ') + 1)]),
  );
  return { screen, trace, code: Number(read('code')), before: read('before'), after: read('after') };
}

beforeAll(async () => {
  await build({
    entryPoints: [join(import.meta.dirname, 'pty-program.ts')],
    outfile: program,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    packages: 'external',
    logLevel: 'error',
  });
});
afterAll(() => {
  rmSync(folder, { recursive: true, force: true });
  rmSync(program, { force: true });
});

describe.skipIf(!hasScript)('a console on a terminal (needs script of util-linux)', () => {
  it('passes every key but Ctrl-], which powers the guest off', async () => {
    const { trace, code, before, after, screen } = await onTerminal('keys', async ({ type }) => {
      await type('a\x03\x1a\x04\x11\x13');
      await type('b\x1dlost');
    });
    expect(trace['typed']).toBe(JSON.stringify('a\x03\x1a\x04\x11\x13b'));
    expect(trace['calls']).toBe('stop');
    expect(trace['sizes']).toBe('[[100,30]]');
    expect(code).toBe(0);
    expect(after).toBe(before);
    expect(screen).toContain('Ctrl-] leaves the console');
    // the guest's alternate screen and hidden cursor are undone
    expect(screen.lastIndexOf('\x1b[?1049l')).toBeGreaterThan(screen.lastIndexOf('\x1b[?1049h'));
    expect(screen.lastIndexOf('\x1b[?25h')).toBeGreaterThan(screen.lastIndexOf('\x1b[?25l'));
  });

  it.each([
    ['stubborn', ['\x1d', '\x1d']],
    ['stubborn-at-once', ['ab\x1d\x1dlost']],
  ])('forces a guest that does not obey with a second Ctrl-] (%s)', async (name, keys) => {
    const { trace, code, before, after } = await onTerminal(name, async ({ type }) => {
      for (const key of keys) await type(key);
    });
    expect(trace['calls']).toBe('stop,kill');
    expect(code).toBe(130);
    expect(after).toBe(before);
  });

  it.each([
    ['SIGTERM', 0],
    ['SIGINT', 130],
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
  ] as const)('is restored after %s', async (signal, expected) => {
    const { trace, code, before, after } = await onTerminal(signal, async ({ kill }) => kill(signal));
    expect(trace['calls']).toBe('stop');
    expect(code).toBe(expected);
    expect(after).toBe(before);
  });

  it.each([
    ['SIGUSR2', 128 + 12],
    ['SIGALRM', 128 + 14],
  ] as const)('is restored before %s kills the program', async (signal, expected) => {
    const { code, before, after } = await onTerminal(signal, async ({ kill }) => kill(signal));
    expect(code).toBe(expected);
    expect(after).toBe(before);
  });

  it.each([
    ['powers-off', 0],
    ['exits', 9],
    ['throws', 1],
  ] as const)('is restored when the program %s', async (name, expected) => {
    const { code, before, after, screen } = await onTerminal(name, async ({ type }) => type('x'));
    expect(code).toBe(expected);
    expect(after).toBe(before);
    expect(screen.lastIndexOf('\x1b[?25h')).toBeGreaterThan(screen.lastIndexOf('\x1b[?25l'));
  });

  it('is ordinary while the program is suspended and raw again afterwards', async () => {
    const { trace, before, after } = await onTerminal('suspended', async ({ pid, kill, type }) => {
      kill('SIGTSTP');
      await until(() => isStopped(pid));
      expect(isRaw(pid)).toBe(false);
      kill('SIGCONT');
      await until(() => isRaw(pid));
      await type('\x03\x1d');
    });
    expect(trace['typed']).toBe(JSON.stringify('\x03'));
    expect(after).toBe(before);
  });
});

describe.skipIf(!hasScript)('an attached console on a terminal (needs script of util-linux)', () => {
  it('passes every key but Ctrl-], which leaves, and the machine goes on', async () => {
    await withMachine('web', async ({ machine }) => {
      machine.console.show('guest is up\r\n\x1b[?1049h\x1b[?25l');
      const { code, before, after, screen } = await onTerminal(
        'attached',
        async ({ type }) => {
          await type('a\x03\x1a\x04');
          await type('b\x1dlost');
        },
        'console web',
      );
      expect(machine.console.typed).toBe('a\x03\x1a\x04b');
      expect(machine.console.sizes).toEqual([[100, 30]]);
      expect(machine.calls).toEqual([]);
      expect(code).toBe(0);
      expect(after).toBe(before);
      expect(screen).toContain('Ctrl-] leaves the console of web, which goes on');
      expect(screen.lastIndexOf('\x1b[?1049l')).toBeGreaterThan(screen.lastIndexOf('\x1b[?1049h'));
      expect(screen.lastIndexOf('\x1b[?25h')).toBeGreaterThan(screen.lastIndexOf('\x1b[?25l'));
    });
  });

  it.each([
    ['SIGTERM', 143],
    ['SIGINT', 130],
    ['SIGHUP', 129],
    ['SIGQUIT', 131],
    ['SIGUSR2', 128 + 12],
  ] as const)('is restored after %s', async (signal, expected) => {
    await withMachine('web', async ({ machine }) => {
      machine.console.show('guest is up\r\n\x1b[?25l');
      const { code, before, after } = await onTerminal(
        `attached-${signal}`,
        async ({ kill }) => kill(signal),
        'console web',
      );
      expect(code).toBe(expected);
      expect(after).toBe(before);
      expect(machine.calls).toEqual([]);
    });
  });

  it('is restored when the machine ends', async () => {
    await withMachine('web', async ({ machine, control }) => {
      machine.console.show('guest is up\r\n\x1b[?25l');
      const { code, before, after, screen } = await onTerminal(
        'attached-to-the-end',
        async () => {
          machine.end({ reason: 'power-off' });
          await machine.exited;
          await control.close();
        },
        'console web',
      );
      expect(code).toBe(0);
      expect(after).toBe(before);
      expect(screen).toContain('web has ended (power-off)');
      expect(screen.lastIndexOf('\x1b[?25h')).toBeGreaterThan(screen.lastIndexOf('\x1b[?25l'));
    });
  });

  it('is restored when the process of the machine dies', async () => {
    await withMachine('web', async () => {}); // makes the folder
    const connections: Socket[] = [];
    const server = createServer((socket) => {
      connections.push(socket);
      socket.write('{"tsvmm":1,"name":"fake","pid":1}\n{"result":{}}\n');
      socket.write(frame(FromMachine.output, Buffer.from('guest is up\r\nlogin: \x1b[?25l')));
    }).listen(socketOf('fake'));
    const { code, before, after, screen } = await onTerminal(
      'attached-to-nobody',
      async () => {
        for (const socket of connections) socket.destroy();
      },
      'console fake',
    );
    server.close();
    expect(code).toBe(1);
    expect(after).toBe(before);
    expect(stripVTControlCharacters(screen)).toContain('\r\ntsvmm: fake: the connection was lost\r\n');
    expect(screen.lastIndexOf('\x1b[?25h')).toBeGreaterThan(screen.lastIndexOf('\x1b[?25l'));
  });
});

describe('the foreground', () => {
  it('is the process group that owns the terminal', () => {
    expect(isForeground('12 (a) b (c)) S 1 77 77 34816 77 4194304')).toBe(true);
    expect(isForeground('12 (node) S 1 77 77 34816 80 4194304')).toBe(false);
    expect(typeof isForeground()).toBe('boolean');
  });
});
