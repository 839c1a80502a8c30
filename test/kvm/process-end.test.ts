/** Node ends when it wants to, whatever a machine is doing (contract §1.1). */
import { spawn } from 'node:child_process';
import { describe, expect, test } from 'vitest';
import { guestFile, whyNoKvm } from './support/guests.js';

interface Ended {
  code: number | null;
  signal: string | null;
  output: string;
  /** From the line "ready" to the end. */
  afterReadyMs: number;
}

/** Runs `body` in a fresh Node with a running machine `vm` of the given guest; `body` follows the line "ready". */
function inNode(guest: string, body: string, nodeOptions: string[] = []): Promise<Ended> {
  const script = `
    import { VirtualMachine } from 'tsvmm';
    const vm = await VirtualMachine.start({ memory: '32M', cpus: 2, boot: { kernel: ${JSON.stringify(guestFile(guest))} } });
    await new Promise((resolve) => setTimeout(resolve, 100));
    console.log('ready');
    ${body}`;
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [...nodeOptions, '--input-type=module', '-e', script], {
      cwd: new URL('../..', import.meta.url),
      stdio: ['ignore', 'pipe', 'pipe'],
      env: { PATH: process.env['PATH'] },
    });
    let output = '';
    let readyAt = 0;
    for (const stream of [child.stdout, child.stderr]) {
      stream.on('data', (chunk: Buffer) => {
        output += chunk;
        if (readyAt === 0 && output.includes('ready')) readyAt = performance.now();
      });
    }
    const timer = setTimeout(() => child.kill('SIGKILL'), 20_000);
    child.once('error', reject);
    child.once('close', (code, signal) => {
      clearTimeout(timer);
      resolve({ code, signal, output, afterReadyMs: performance.now() - readyAt });
    });
  });
}

/** Far above what is promised (a second) and far below "hangs", so that a loaded machine does not fail the test. */
const soon = 8000;

describe.skipIf(whyNoKvm !== undefined).each(['halt', 'spin'])('with a guest that only %ss', (guest) => {
  test('process.exit', async () => {
    const ended = await inNode(guest, 'process.exit(7);');
    expect(ended).toMatchObject({ code: 7, signal: null });
    expect(ended.afterReadyMs).toBeLessThan(soon);
  });

  test('an uncaught throw', async () => {
    const ended = await inNode(guest, "setTimeout(() => { throw new Error('uncaught here'); }, 10);");
    expect(ended).toMatchObject({ code: 1, signal: null, output: expect.stringContaining('uncaught here') });
    expect(ended.afterReadyMs).toBeLessThan(soon);
  });

  test('an unhandled rejection', async () => {
    const ended = await inNode(guest, "Promise.reject(new Error('unhandled here'));");
    expect(ended).toMatchObject({ code: 1, signal: null, output: expect.stringContaining('unhandled here') });
  });

  test('the natural end after unref', async () => {
    const ended = await inNode(guest, 'vm.unref();');
    expect(ended).toMatchObject({ code: 0, signal: null });
    expect(ended.afterReadyMs).toBeLessThan(soon);
  });

  test('the natural end after kill', async () => {
    const ended = await inNode(guest, 'console.log((await vm.kill()).reason);');
    expect(ended).toMatchObject({ code: 0, signal: null, output: expect.stringContaining('killed') });
  });

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

  test('a report, a heap snapshot and the machine goes on', async () => {
    const ended = await inNode(
      guest,
      `const { threadId } = process.report.getReport().header;
       const { getHeapSnapshot } = await import('node:v8');
       for await (const _ of getHeapSnapshot()) { /* read to the end */ }
       console.log('report of thread', threadId, vm.state);
       await vm.kill();`,
    );
    expect(ended).toMatchObject({
      code: 0,
      signal: null,
      output: expect.stringContaining('report of thread 0 running'),
    });
    expect(ended.afterReadyMs).toBeLessThan(soon);
  });

  test('SIGINT', async () => {
    const ended = await inNode(guest, "process.kill(process.pid, 'SIGINT');");
    expect(ended).toMatchObject({ code: null, signal: 'SIGINT' });
    expect(ended.afterReadyMs).toBeLessThan(soon);
  });

  test('a worker that imported tsvmm is terminated', async () => {
    const body = `
      const { Worker } = await import('node:worker_threads');
      await vm.kill();
      const worker = new Worker(\`
        import('tsvmm').then(async ({ VirtualMachine }) => {
          globalThis.vm = await VirtualMachine.start({ memory: '32M', boot: { kernel: ${JSON.stringify(guestFile(guest))} } });
          (await import('node:worker_threads')).parentPort.postMessage(vm.state);
        });\`, { eval: true });
      const state = await new Promise((resolve, reject) => worker.once('message', resolve).once('error', reject));
      await new Promise((resolve) => setTimeout(resolve, 100));
      await worker.terminate();
      console.log('terminated', state);`;
    const ended = await inNode(guest, body);
    expect(ended).toMatchObject({ code: 0, signal: null, output: expect.stringContaining('terminated running') });
  });
});
