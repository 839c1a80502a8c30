/** The user's limit of queued signals is used up (RLIMIT_SIGPENDING): vCPUs must be reached all the same. */
import { spawnSync } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { guestFile, whyNoKvm } from './support/guests.js';

/** Runs `body` in a Node that may not queue a signal, with a machine `vm` whose guest never leaves KVM_RUN by itself. */
function withoutQueue(body: string) {
  const script = `
    import { VirtualMachine } from 'tsvmm';
    const vm = await VirtualMachine.start({ memory: '32M', cpus: 2, boot: { kernel: ${JSON.stringify(guestFile('spin'))} } });
    await vm.console.waitFor('looping');
    vm.on('warning', ({ message }) => console.log('warning:', message));
    ${body}`;
  const { status, signal, stdout, stderr } = spawnSync(
    'prlimit',
    ['--sigpending=0', process.execPath, '--input-type=module', '-e', script],
    { cwd: new URL('../..', import.meta.url), encoding: 'utf8', timeout: 20_000, killSignal: 'SIGKILL' },
  );
  return { status, signal, output: stdout + stderr };
}

describe.skipIf(whyNoKvm !== undefined)('where no signal can be queued', () => {
  test('a machine is killed, cleanly', () => {
    const body = 'console.log((await vm.kill()).reason);';
    expect(withoutQueue(body)).toEqual({ status: 0, signal: null, output: 'killed\n' });
  });

  test.each(['process.exit(7)', 'process.exitCode = 7; vm.unref()'])('%s ends the program', (body) => {
    expect(withoutQueue(body)).toEqual({ status: 7, signal: null, output: '' });
  });

  test('a program that handles the signal that is sent instead keeps its handler', () => {
    const body = `
      let heard = 0;
      process.on('SIGURG', () => heard++);
      console.log((await vm.kill()).reason);
      const before = await new Promise((resolve) => setTimeout(() => resolve(heard), 100));
      process.on('exit', () => console.log('heard', heard - before));
      process.kill(process.pid, 'SIGURG');
      setTimeout(() => {}, 50);`;
    expect(withoutQueue(body)).toEqual({ status: 0, signal: null, output: 'killed\nheard 1\n' });
  });
});
