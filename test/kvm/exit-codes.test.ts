/** Every exit code of the documented table, by a run that really ends with it. */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { afterAll, describe, expect, test } from 'vitest';
import { ExitCode, exitCodeTexts } from '../../src/cli/exit-codes.js';
import { guestFile, whyNoKvm } from './support/guests.js';

const program = fileURLToPath(new URL('../../bin/tsvmm.js', import.meta.url));

interface Running {
  readonly child: ChildProcess;
  output(): string;
}

function start(words: readonly string[], wrapper: readonly string[] = [], file = program): Running {
  const command = [...wrapper, process.execPath, file, ...words];
  const child = spawn(command[0]!, command.slice(1), { stdio: 'pipe' });
  let output = '';
  for (const stream of [child.stdout, child.stderr])
    stream.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1');
    });
  return { child, output: () => output };
}
const run = (guest: string, ...words: string[]): Running =>
  start(['run', '-m', '64M', '--kernel', guestFile(guest), ...words]);

/** Sends the signals, one after another, once the guest has shown `text`. */
async function signalled(running: Running, text: string, ...signals: NodeJS.Signals[]): Promise<Running> {
  while (!running.output().includes(text) && running.child.exitCode === null) await delay(10);
  for (const signal of signals) {
    running.child.kill(signal);
    await delay(300);
  }
  return running;
}

/** No /dev/kvm in a mount namespace of its own. */
const withoutKvm = ['unshare', '--mount', 'sh', '-c', 'mount --bind /dev/null /dev/kvm && exec "$@"', 'sh'];

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-exit-codes-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** A copy of the program whose vCPU thread is broken. */
function brokenProgram(): string {
  for (const path of ['package.json', 'bin', 'dist', 'build/Release/tsvmm.node'])
    cpSync(join(root, path), join(folder, path), { recursive: true });
  writeFileSync(join(folder, 'dist/vcpu-worker.cjs'), "throw new Error('broken on purpose');");
  return join(folder, 'bin/tsvmm.js');
}

const scenarios: Readonly<Record<number, () => Running | Promise<Running>>> = {
  [ExitCode.ok]: () => run('hello'),
  [ExitCode.failed]: () => run('hello', '--until', 'never shown'),
  [ExitCode.usage]: () => run('hello', '--transport', 'isa'),
  [ExitCode.panic]: () => run('panic'),
  [ExitCode.internal]: () => start(['run', '-m', '64M', '--kernel', guestFile('hello')], [], brokenProgram()),
  [ExitCode.noKvm]: () => start(['run', '-m', '64M', '--kernel', guestFile('hello')], withoutKvm),
  [ExitCode.timeout]: () => run('spin', '--timeout', '1s', '--stop-timeout', '500ms'),
  [ExitCode.hangup]: () => signalled(run('power-button'), 'waiting', 'SIGHUP'),
  [ExitCode.interrupt]: () => signalled(run('power-button'), 'waiting', 'SIGINT'),
  [ExitCode.quit]: () => signalled(run('power-button'), 'waiting', 'SIGQUIT'),
  [ExitCode.pipe]: async () => {
    const running = run('echo', '--stop-timeout', '500ms');
    await signalled(running, 'echo ready');
    running.child.stdout?.destroy();
    running.child.stdin?.write('one\ntwo\n');
    return running;
  },
  [ExitCode.terminated]: () => signalled(run('echo'), 'echo ready', 'SIGTERM', 'SIGTERM'),
};

describe.skipIf(whyNoKvm !== undefined)('the exit code', () => {
  test.each(exitCodeTexts)('%i: %s', async (code) => {
    const scenario = scenarios[code];
    expect(scenario, 'a scenario').toBeDefined();
    const running = await scenario!();
    const [status] = running.child.exitCode === null ? await once(running.child, 'exit') : [running.child.exitCode];
    expect(status, running.output()).toBe(code);
  });

  test('has no scenario that is not documented', () => {
    expect(Object.keys(scenarios).map(Number)).toEqual(exitCodeTexts.map(([code]) => code));
  });
});
