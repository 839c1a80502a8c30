/** bin/tsvmm.js, as built, with tiny guests: what users see, and that nothing stays behind. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import {
  closeSync,
  existsSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { ownRuntimeDirectory } from '../support/runtime-directory.js';
import { guestFile, whyNoKvm } from './support/guests.js';

ownRuntimeDirectory();

const program = fileURLToPath(new URL('../../bin/tsvmm.js', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-cli-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

interface Running {
  readonly child: ChildProcess;
  readonly done: Promise<{ code: number | null; signal: NodeJS.Signals | null; stdout: string; stderr: string }>;
  stdout(): string;
  shows(text: string): Promise<void>;
}

function tsvmm(...argv: string[]): Running {
  const child = spawn(process.execPath, [program, ...argv], { stdio: 'pipe' });
  let stdout = '';
  let stderr = '';
  child.stdout.on('data', (chunk: Buffer) => {
    stdout += chunk.toString('latin1');
  });
  child.stderr.on('data', (chunk: Buffer) => {
    stderr += chunk.toString('latin1');
  });
  const done = new Promise<Awaited<Running['done']>>((resolve) => {
    child.once('close', (code, signal) => resolve({ code, signal, stdout, stderr }));
  });
  return {
    child,
    done,
    stdout: () => stdout,
    async shows(text) {
      while (!stdout.includes(text)) {
        if (child.exitCode !== null) throw new Error(`ended without ${JSON.stringify(text)}: ${stdout}${stderr}`);
        await delay(10);
      }
    },
  };
}
const guest = (name: string, ...argv: string[]): Running =>
  tsvmm('run', '-m', '64M', '--kernel', guestFile(name), ...argv);

describe.skipIf(whyNoKvm !== undefined)('tsvmm run', () => {
  test('shows the console and ends with the guest', async () => {
    expect(await guest('hello').done).toEqual({ code: 0, signal: null, stdout: 'hello from guest\n', stderr: '' });
  });

  test('many vCPUs leave nothing on stderr, Node’s warnings of too many listeners included', async () => {
    const { code, stdout, stderr } = await guest('smp', '-c', '12').done;
    expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
    expect(stdout).toContain('smp 12 ok');
  });

  test('gives stdin to the guest, and its end does not end the guest', async () => {
    const running = guest('echo');
    await running.shows('echo ready');
    running.child.stdin?.end('one\ntwo\n');
    await running.shows('echo: two');
    running.child.kill('SIGKILL');
    const { signal, stdout } = await running.done;
    expect(signal).toBe('SIGKILL');
    expect(stdout).toContain('echo: one\n');
  });

  test.each([
    ['panic', 3, 'tsvmm: the guest panicked: as the test asked\n'],
    ['triple', 3, 'tsvmm: the guest triple-faulted'],
  ] as const)('%s is exit code %i', async (name, code, message) => {
    const outcome = await guest(name).done;
    expect(outcome.code).toBe(code);
    expect(outcome.stderr).toContain(message);
    expect(outcome.stderr).toContain(`(exit ${code})`);
  });

  test('a panic is reported with the last lines and the phases', async () => {
    const { stderr } = await guest('panic').done;
    expect(stderr).toContain('last lines of the console:\n');
    expect(stderr).toContain('  | Kernel panic - not syncing: as the test asked\n');
    expect(stderr).toMatch(/phases of the start:\n[\s\S]* {2}create vCPUs: [\d.]+ ms\n/);
  });

  test('--timeline shows the boot, also of a guest that is interrupted', async () => {
    const file = join(folder, 'boot.html');
    const ended = await guest('hello', '--timeline', file).done;
    expect(ended).toMatchObject({ code: 0, stderr: `tsvmm: boot timeline: ${file}\n` });
    const page = readFileSync(file, 'utf8');
    for (const text of ['start Node', 'create vCPUs', 'enter', 'first instructions']) expect(page).toContain(text);
    expect(page).toMatch(/<td>io<\/td><td class="n">\d+</);

    const running = guest('spin', '--timeline', file, '--stop-timeout', '100ms');
    await running.shows('spin: looping');
    running.child.kill('SIGINT');
    expect((await running.done).code).toBe(130);
    expect(readFileSync(file, 'utf8')).toContain('to the end (killed)');
  });

  test('--no-reboot ends at the first reboot', async () => {
    const { code, stdout } = await guest('reset', '--no-reboot').done;
    expect(code).toBe(0);
    expect(stdout).toBe('reset: resetting\n');
  });

  test('SIGTERM presses the power button', async () => {
    const running = guest('power-button');
    await running.shows('power-button: waiting');
    running.child.kill('SIGTERM');
    const { code, stdout } = await running.done;
    expect(stdout).toContain('power-button: powering off');
    expect(code).toBe(0);
  });

  test('a second SIGTERM forces a guest that does not obey', async () => {
    const running = guest('spin');
    await running.shows('spin: looping');
    running.child.kill('SIGTERM');
    await delay(200);
    running.child.kill('SIGTERM');
    expect((await running.done).code).toBe(143);
  });

  test('--stop-timeout and --until: a guest without a power button is forced off in time', async () => {
    const { code } = await guest('halt', '--until', 'sleeping', '--stop-timeout', '100ms').done;
    expect(code).toBe(0);
  });

  test('--timeout ends with 124, and says so to those too who want no notices', async () => {
    const { code, stderr } = await guest('spin', '--timeout', '3s', '--stop-timeout', '100ms', '-q').done;
    expect(code).toBe(124);
    expect(stderr).toMatch(/^tsvmm: --timeout expired, .*\ncause: .*\ntry: /);
  });

  test('ends when the reader of its output does', async () => {
    const running = guest('echo', '--stop-timeout', '100ms');
    await running.shows('echo ready');
    running.child.stdout?.destroy();
    running.child.stdin?.write('text\n');
    expect((await running.done).code).toBe(141);
  });

  test('ends when the reader of its events does', async () => {
    const running = guest('echo', '--json', '--stop-timeout', '100ms');
    running.child.stdout?.destroy();
    const { code, stderr } = await running.done;
    expect(stderr).toContain('the reader of the output went away');
    expect(code).toBe(141);
  });

  test.each([
    ['run', '-m', '64M', '--kernel', guestFile('hello')],
    ['run', '-m', '64M', '--kernel', guestFile('hello'), '--json'],
    ['help'],
    ['image', 'inspect', '--help'],
  ])('output that a full disk does not take is a failure: %j', async (...argv) => {
    const full = openSync('/dev/full', 'w');
    const child = spawn(process.execPath, [program, ...argv], { stdio: ['ignore', full, 'pipe'] });
    closeSync(full);
    let stderr = '';
    child.stderr!.on('data', (chunk: Buffer) => {
      stderr += chunk.toString();
    });
    const [code] = await once(child, 'close');
    expect(stderr).toContain('tsvmm: stdout cannot be written: ENOSPC\n');
    expect(code).toBe(1);
  });

  test('a command whose reader is gone tells nobody that all is well', async () => {
    const child = spawn(process.execPath, [program, 'help'], { stdio: ['ignore', 'pipe', 'pipe'] });
    child.stdout!.destroy();
    expect(await once(child, 'close')).toEqual([141, null]);
  });

  test('--json tells it all on stdout', async () => {
    const { code, stdout, stderr } = await guest('hello', '--json', '--name', 'tiny').done;
    expect(code).toBe(0);
    expect(stderr).toBe('hello from guest\n');
    const events = stdout
      .trim()
      .split('\n')
      .map((line) => JSON.parse(line) as Record<string, unknown>);
    expect(events[0]).toMatchObject({
      event: 'started',
      name: 'tiny',
      phases: expect.arrayContaining([expect.objectContaining({ name: 'enter' })]),
    });
    expect(events.at(-1)).toMatchObject({
      event: 'exit',
      reason: 'power-off',
      debugExit: 0,
      exitCode: 0,
      consoleTail: 'hello from guest\n',
    });
  });

  test('--json tells an error as one object, beside the text on stderr', async () => {
    const { code, stdout, stderr } = await guest('hello', '--json', '--disk', join(folder, 'absent.img')).done;
    expect(code).toBe(1);
    expect(stderr).toContain('code: ERR_TSVMM_DISK_IO (exit 1)');
    expect(JSON.parse(stdout)).toMatchObject({
      event: 'exit',
      reason: 'error',
      exitCode: 1,
      error: { code: 'ERR_TSVMM_DISK_IO', message: expect.stringContaining('absent.img'), hint: expect.any(String) },
    });
    const inspected = await tsvmm('image', 'inspect', '--json', '/absent.img').done;
    expect(inspected).toMatchObject({ code: 1, stderr: expect.stringContaining('ERR_TSVMM_DISK_IO (exit 1)') });
    const hint = 'Check the path of the disk image.';
    expect(JSON.parse(inspected.stdout)).toEqual({
      error: { code: 'ERR_TSVMM_DISK_IO', message: '"/absent.img" does not exist', hint },
    });
  });

  test('--quiet leaves the console on stdout and nothing on stderr', async () => {
    const file = join(folder, 'quiet.html');
    const ended = await guest('hello', '--quiet', '--timeline', file).done; // which is told of otherwise
    expect(ended).toEqual({ code: 0, signal: null, stdout: 'hello from guest\n', stderr: '' });
    expect(existsSync(file)).toBe(true);
  });

  test('--cpu help lists models and features, as JSON too', async () => {
    const { code, stdout } = await tsvmm('run', '--cpu', 'help', '--json').done;
    expect(code).toBe(0);
    expect(JSON.parse(stdout)).toMatchObject({ models: expect.any(Array), here: expect.arrayContaining(['fpu']) });
  });

  test('kill -9 leaves no process and no lock', async () => {
    const disk = join(folder, 'disk.img');
    writeFileSync(disk, Buffer.alloc(1 << 20));
    const running = guest('spin', '--disk', disk);
    await running.shows('spin: looping');
    const second = await guest('hello', '--disk', disk).done;
    expect(second.code).toBe(1);
    expect(second.stderr).toContain('code: ERR_TSVMM_DISK_LOCKED (exit 1)');
    const { pid } = running.child;
    const children = readdirSync(`/proc/${pid}/task`).flatMap((task) =>
      readFileSync(`/proc/${pid}/task/${task}/children`, 'utf8').split(' ').filter(Boolean),
    );
    expect(children).toEqual([]);
    running.child.kill('SIGKILL');
    await running.done;
    expect(existsSync(`/proc/${pid}`)).toBe(false);
    expect((await guest('hello', '--disk', disk).done).code).toBe(0);
  });
});

describe.skipIf(whyNoKvm !== undefined)('mistakes', () => {
  const file = (name: string, content: string | Buffer): string => {
    writeFileSync(join(folder, name), content);
    return join(folder, name);
  };
  test.each([
    ['a disk that is not there', ['run', '/nowhere/disk.img'], 1, 'ERR_TSVMM_DISK_IO'],
    ['a disk that is no disk', ['run', file('text.img', 'not a disk')], 1, 'ERR_TSVMM_DISK_FORMAT'],
    ['an empty disk', ['run', file('empty.img', Buffer.alloc(1 << 20))], 1, 'ERR_TSVMM_BOOT_NOT_FOUND'],
    [
      'a qcow2',
      ['run', file('disk.qcow2', Buffer.concat([Buffer.from('QFI\xfb\0\0\0\x03', 'latin1'), Buffer.alloc(65_528)]))],
      1,
      'ERR_TSVMM_DISK_FORMAT',
    ],
    ['a kernel that is none', ['run', '--kernel', file('kernel', Buffer.alloc(8192))], 1, 'ERR_TSVMM_BOOT_KERNEL'],
    ['a kernel that is not there', ['run', '--kernel', '/nowhere/vmlinuz'], 1, 'ERR_TSVMM_BOOT_KERNEL'],
    ['absurd memory', ['run', '--kernel', guestFile('hello'), '-m', '900T'], 2, 'ERR_TSVMM_CONFIG'],
    ['absurd CPUs', ['run', '--kernel', guestFile('hello'), '-c', '5000'], 2, 'ERR_TSVMM_CONFIG'],
    ['an unknown feature', ['run', '--kernel', guestFile('hello'), '--cpu', 'host,+warp'], 2, 'ERR_TSVMM_CONFIG'],
    ['inspecting nothing', ['image', 'inspect', '/nowhere/disk.img'], 1, 'ERR_TSVMM_DISK_IO'],
  ])('%s', async (_what, argv, expected, name) => {
    const { code, stdout, stderr } = await tsvmm(...argv).done;
    expect(stdout).toBe('');
    expect(stderr).toMatch(/^tsvmm: .+\n( {2}.+\n)*(hint: .+\n)?code: /);
    expect(stderr).toContain(`code: ${name} (exit ${expected})`);
    expect(stderr).not.toContain('internal error');
    expect(code).toBe(expected);
  });
});
