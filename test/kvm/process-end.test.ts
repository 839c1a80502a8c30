/** A program whose own listeners throw at a machine's end. Every other end is in test/node/process-end.test.ts. */
import { spawn } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { guestFile, whyNoKvm } from './support/guests.js';

interface Ended {
  code: number | null;
  signal: string | null;
  output: string;
}

/** Runs `body` in a fresh Node with a running machine `vm` of the given guest. */
function inNode(guest: string, body: string): Promise<Ended> {
  const script = `
    import { VirtualMachine } from 'tsvmm';
    const vm = await VirtualMachine.start({ memory: '32M', cpus: 2, boot: { kernel: ${JSON.stringify(guestFile(guest))} } });
    await new Promise((resolve) => setTimeout(resolve, 100));
    ${body}`;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
      cwd: new URL('../..', import.meta.url),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
      });
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, output });
    });
  });
}

describe.skipIf(whyNoKvm !== undefined).each(['halt', 'spin'])('with a guest that only %ss', (guest) => {
  test('listeners that throw are the program’s affair: the machine ends all the same', async () => {
    const body = `
      let thrown = 0;
      process.on('uncaughtException', ({ message }) => message === 'mine' ? thrown++ : console.log('foreign', message));
      const mine = () => { throw new Error('mine'); };
      for (const event of ['state', 'exit']) vm.on(event, mine);
      const killed = vm.kill();
      console.log((await vm.exited).reason, (await killed).reason, vm.state);
      setImmediate(() => console.log('thrown', thrown));`;
    const ended = await inNode(guest, body);
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.output).toContain('killed killed stopped\nthrown 3');
    expect(ended.output).not.toContain('foreign');
  });
});
