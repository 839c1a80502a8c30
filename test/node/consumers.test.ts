/** Programs as users have them, in a folder of their own with the packed tsvmm in node_modules, run a tiny guest. */
import { execFile, execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';
import { guestFile, whyNoKvm } from '../kvm/support/guests.js';
import { nodes } from './support/runtimes.js';

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-consumer-'));
const run = promisify(execFile);
const body = `const vm = await VirtualMachine.start({ memory: '32M', boot: { kernel: ${JSON.stringify(guestFile('hello'))} } });
  const { reason, consoleTail } = await vm.exited;`;
const printed = 'power-off hello from guest\n\n';
const write = (name: string, text: string): void => writeFileSync(join(folder, name), text);

beforeAll(() => {
  execFileSync(process.execPath, ['scripts/prepack.js', '--built'], { cwd: root });
  const names = execFileSync('npm', ['pack', '--json', '--silent', '--ignore-scripts', '--dry-run'], { cwd: root });
  const [{ files }] = JSON.parse(names.toString()) as [{ files: { path: string }[] }];
  const installed = join(folder, 'node_modules/tsvmm');
  mkdirSync(installed, { recursive: true });
  for (const { path } of files) cpSync(join(root, path), join(installed, path));
  symlinkSync(join(root, 'node_modules/vitest'), join(folder, 'node_modules/vitest'));
  write('package.json', '{ "type": "module" }');
  write('main.js', `import { VirtualMachine } from 'tsvmm';\n${body}\nconsole.log(reason, consoleTail);`);
  write(
    'required.cjs',
    `const { VirtualMachine } = require('tsvmm');\n(async () => { ${body} console.log(reason, consoleTail); })();`,
  );
  write(
    'guest.test.js',
    `import { VirtualMachine } from 'tsvmm';\nimport { expect, test } from 'vitest';
     test('boots', async () => { ${body} expect([reason, consoleTail]).toEqual(['power-off', 'hello from guest\\n']); });`,
  );
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe.skipIf(whyNoKvm !== undefined)('a program with the packed tsvmm', () => {
  test.each(nodes)('runs under Node $version, by import and by require()', async ({ path }) => {
    for (const file of ['main.js', 'required.cjs'])
      expect(await run(path, ['--no-warnings', file], { cwd: folder }), file).toEqual({ stdout: printed, stderr: '' });
  });

  test.each(['esm', 'cjs'] as const)('bundled by esbuild (%s), with tsvmm external', async (format) => {
    const outfile = join(folder, `bundled.${format === 'esm' ? 'mjs' : 'cjs'}`);
    const contents = `import { VirtualMachine } from 'tsvmm';\n(async () => { ${body} console.log(reason, consoleTail); })();`;
    const stdin = { contents, resolveDir: folder };
    await build({ stdin, outfile, format, bundle: true, platform: 'node', external: ['tsvmm'] });
    const { stdout } = await run(process.execPath, ['--no-warnings', outfile], { cwd: folder });
    expect(stdout).toBe(printed);
  });

  test.each(['forks', 'threads'])("in vitest's pool of %s", async (pool) => {
    const vitest = join(root, 'node_modules/vitest/vitest.mjs');
    const { stdout } = await run(process.execPath, [vitest, 'run', '--root', folder, `--pool=${pool}`], {
      cwd: folder,
    });
    expect(stdout).toMatch(/1 passed/);
  });
});
