/** Runtimes, platforms and permissions that tsvmm cannot have are told so, clearly and before its addon is loaded. */
import { execFile } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import { describe, expect, test } from 'vitest';
import { guestFile } from '../kvm/support/guests.js';
import { runProgram } from './support/programs.js';
import { bun, deno, nodes } from './support/runtimes.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const runtime = { code: 'ERR_TSVMM_UNSUPPORTED_RUNTIME', hint: expect.stringContaining('Node.js 20.19'), own: true };
const platform = { code: 'ERR_TSVMM_UNSUPPORTED_PLATFORM', hint: expect.stringContaining('x86-64 Linux'), own: true };
const node = nodes[0]!.path;

async function outcomes(...run: Parameters<typeof runProgram>) {
  const { code, stdout, stderr, outlived } = await runProgram(...run);
  expect({ code, outlived }, stderr).toEqual({ code: 0, outlived: false });
  return { outcomes: JSON.parse(stdout), stderr };
}

describe.each([
  { name: 'bun', path: bun, options: ['run'] },
  { name: 'deno', path: deno, options: ['run', '--allow-all'] },
])('$name', ({ name, path, options }) => {
  test('imports tsvmm, which then refuses by name', async () => {
    const env = { DENO_NO_UPDATE_CHECK: '1', NO_COLOR: '1' };
    const found = await outcomes(path, 'refused', [], { options, env });
    const refused = { ...runtime, message: expect.stringContaining(`this is ${name} `) };
    expect(found).toEqual({ outcomes: [refused, refused], stderr: '' });
  });

  test.each(['run', 'doctor'])('tsvmm %s refuses as well, and starts nothing', async (command) => {
    const args = [
      ...options,
      `${root}bin/tsvmm.js`,
      command,
      ...(command === 'run' ? ['--kernel', guestFile('hello')] : []),
    ];
    const { code, output } = await new Promise<{ code: unknown; output: string }>((resolve) => {
      execFile(path, args, { env: { ...process.env, NO_COLOR: '1' } }, (error, stdout, stderr) =>
        resolve({ code: error?.code, output: stdout + stderr }),
      );
    });
    expect(output).toContain(`tsvmm needs Node.js; this is ${name} `);
    expect(output).not.toMatch(/\bat \w|Uncaught|ok {4}node/); // no stack of a worker
    expect(code).toBe(5);
  });
});

test('Electron is refused, run as Node or not', async () => {
  const refused = { ...runtime, message: 'tsvmm needs Node.js; this is electron 45.0.0' };
  expect((await outcomes(node, 'refused', ['electron'])).outcomes).toEqual([refused, refused]);
});

test.each(['v18.20.8', 'v20.18.3'])('Node %s is too old', async (version) => {
  const refused = { ...runtime, message: expect.stringContaining(`20.19 or newer; this is ${version.slice(1)}`) };
  expect((await outcomes(node, 'refused', [version])).outcomes).toEqual([refused, refused]);
});

test.each(['darwin', 'arm64'])('%s is another platform', async (what) => {
  const refused = { ...platform, message: expect.stringContaining(what) };
  expect((await outcomes(node, 'refused', [what])).outcomes).toEqual([refused, refused]);
});

describe.each(nodes)("Node $version's permission model", ({ version, path }) => {
  const permission = version === 20 ? '--experimental-permission' : '--permission';
  const allowed = ['--allow-fs-read=*', '--allow-addons', '--allow-worker', '--allow-fs-write=/dev/kvm'];
  const without = (flag: string) => {
    const options = ['--no-warnings', permission, ...allowed.filter((other) => !other.startsWith(flag))];
    return outcomes(path, 'refused', [], { options });
  };

  test('without addons, workers or /dev/kvm names what is missing', async () => {
    const [addons, workers, device] = await Promise.all(
      ['--allow-addons', '--allow-worker', '--allow-fs-write'].map(async (flag) => (await without(flag)).outcomes),
    );
    const denied = { own: true, hint: expect.stringContaining('--allow-addons --allow-worker') };
    const refused = { ...denied, code: 'ERR_TSVMM_NATIVE_MISSING', message: expect.stringContaining('native addons') };
    expect(addons).toEqual([refused, refused]);
    const noThreads = { ...denied, code: 'ERR_TSVMM_UNSUPPORTED_RUNTIME', message: expect.stringContaining('threads') };
    expect(workers).toEqual([noThreads, noThreads]);
    const noDevice = { ...denied, code: 'ERR_TSVMM_KVM_DENIED', message: expect.stringContaining('/dev/kvm') };
    expect(device).toEqual([noDevice, { code: 'started' }]);
  });

  test('with all of it machines run', async () => {
    expect((await without('none')).outcomes).toEqual([{ code: 'started' }, { code: 'started' }]);
  });
});
