/**
 * The package, published and installed as users do it: no compiler, no script. Programs of an empty folder run a tiny guest
 * with it: its command, by import and by require() on every Node, bundled, and in test runners.
 */
import { execFile, spawnSync } from 'node:child_process';
import { existsSync, readdirSync, realpathSync, statSync, symlinkSync, truncateSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { build } from 'esbuild';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { ensureNpmTools, npmToolsFolder } from '../../scripts/npm-tools.js';
import { packageRoot } from '../../src/host/addon.js';
import { guestFile, whyNoKvm } from '../kvm/support/guests.js';
import { lockedPackages, Published } from './support/published.js';
import { nodes } from './support/runtimes.js';

const root = packageRoot();
const tools = npmToolsFolder('consumers');
const execute = promisify(execFile);
const guest = JSON.stringify(guestFile('hello'));
const body = `const vm = await VirtualMachine.start({ memory: '32M', boot: { kernel: ${guest} } });
  const { reason, consoleTail } = await vm.exited;`;
const printed = { stdout: 'power-off hello from guest\n\n', stderr: '' };
const programs = {
  'main.js': `import { VirtualMachine } from 'tsvmm';\n${body}\nconsole.log(reason, consoleTail);`,
  'required.cjs': `const { VirtualMachine } = require('tsvmm');\n(async () => { ${body} console.log(reason, consoleTail); })();`,
  'entry.js': `import { VirtualMachine } from 'tsvmm';\n(async () => { ${body} console.log(reason, consoleTail); })();`,
};
const testProgram = (imports: string): string => `import { VirtualMachine } from 'tsvmm'; ${imports}
  test('boots', async () => { ${body} expect([reason, consoleTail]).toEqual(['power-off', 'hello from guest\\n']); });`;

let published: Published;
let folder: string;

beforeAll(async () => {
  [published] = await Promise.all([Published.publish(), ensureNpmTools('consumers')]);
  folder = await published.npmInstall();
  for (const [name, text] of Object.entries(programs)) writeFileSync(join(folder, name), text);
});
afterAll(() => published?.close());

const run = (program: string, ...args: string[]) => execute(program, args, { cwd: folder });
/** A program of the folder by this Node, or by another. */
const node = (file: string, path = process.execPath) => run(path, '--no-warnings', file);
/** The installed command; what it keeps goes with the installation. */
const tsvmm = (project: string, ...args: string[]) => tsvmmWith({}, project, ...args);
const tsvmmWith = (env: Record<string, string>, project: string, ...args: string[]) =>
  execute(join(project, 'node_modules/.bin/tsvmm'), args, {
    cwd: project,
    env: { ...process.env, XDG_CACHE_HOME: join(project, 'caches'), ...env },
  });
const greeting = { stdout: 'hello from guest\n', stderr: '' };

describe.concurrent('the published package', () => {
  test('has nothing that npm would run at an installation', () => {
    const version = published.registry.latest('tsvmm');
    expect(version).toBeDefined();
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
      expect(version!.scripts).not.toHaveProperty(name);
    // npm runs node-gyp for a package with a binding.gyp in its root.
    expect(existsSync(join(folder, 'node_modules/tsvmm/binding.gyp'))).toBe(false);
    const installed = lockedPackages(folder);
    expect(installed.map(([path]) => path)).toContain('node_modules/tsvmm');
    expect(installed.filter(([, { hasInstallScript }]) => hasInstallScript)).toEqual([]);
    for (const [path, { resolved }] of installed)
      expect(resolved, path).toMatch(new RegExp(`^${published.registry.url}`));
  });

  test('is outside the checkout', () => {
    expect(realpathSync(join(folder, 'node_modules/.bin/tsvmm'))).toBe(
      realpathSync(join(folder, 'node_modules/tsvmm/bin/tsvmm.js')),
    );
  });

  test('tells by its command whether machines can run here', async () => {
    const { stdout, stderr } = await tsvmm(folder, 'doctor', '--json').catch((failed) => failed); // 5 where there is no KVM
    expect(stderr).toBe('');
    expect(JSON.parse(stdout).checks).toContainEqual(expect.objectContaining({ name: 'addon', status: 'ok' }));
  });

  test('on arm64 loads its addon and says what is missing', async (context) => {
    if (spawnSync('qemu-aarch64-static', ['--version']).status !== 0)
      return context.skip('there is no qemu-user-static');
    if (!existsSync(join(folder, 'node_modules/tsvmm/prebuilds/linux-arm64.node')))
      return context.skip('there was no compiler for arm64');
    const arm64 = join(await ensureNpmTools('arm64'), 'node_modules/node20/bin/node');
    const program = [arm64, 'node_modules/tsvmm/bin/tsvmm.js', 'doctor', '--json'];
    const ended = await run('qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu', ...program).catch(
      (failed) => failed,
    );
    expect(ended).toMatchObject({ code: 5, stderr: '' });
    const { checks } = JSON.parse(ended.stdout) as { checks: object[] };
    expect(checks).toContainEqual(expect.objectContaining({ name: 'addon', status: 'ok' }));
    expect(checks.at(-1)).toMatchObject({
      name: 'platform',
      status: 'fail',
      message: 'the machines that tsvmm builds are x86-64 ones so far; this is linux arm64',
    });
  });
});

describe.skipIf(whyNoKvm !== undefined).concurrent('a tiny guest', () => {
  test('boots by the installed command, which keeps compiled code for its next start', async () => {
    const boot = (env: Record<string, string> = {}) =>
      tsvmmWith(env, folder, 'run', '-m', '64M', '--kernel', guestFile('hello'));
    const caches = join(folder, 'caches/tsvmm');
    expect(await boot({ TSVMM_CODE_CACHE: '0' })).toEqual(greeting);
    expect(existsSync(caches)).toBe(false);
    const kept = () => readdirSync(caches).map((name) => ({ name, ...statSync(join(caches, name)) }));
    expect(await boot()).toEqual(greeting);
    const first = kept();
    for (const program of ['cli', 'vcpu-worker'])
      expect(first).toContainEqual(expect.objectContaining({ name: expect.stringContaining(`-${program}-`) }));
    expect(await boot()).toEqual(greeting);
    expect(kept().map(({ ino }) => ino)).toEqual(first.map(({ ino }) => ino)); // V8 took it: nothing was made anew
    for (const { name } of first) truncateSync(join(caches, name), 100);
    expect(await boot()).toEqual(greeting);
    expect(kept().map(({ size }) => size > 100)).toEqual(first.map(() => true));
  });

  test.each(nodes)('boots under Node $version, by import and by require()', async ({ path }) => {
    for (const file of ['main.js', 'required.cjs']) expect(await node(file, path), file).toEqual(printed);
  });

  test('boots where pnpm installed it, in its folders of links', async () => {
    const project = await published.pnpmInstall();
    const store = join(realpathSync(project), 'node_modules/.pnpm');
    expect(realpathSync(join(project, 'node_modules/tsvmm')).startsWith(`${store}/tsvmm@`)).toBe(true);
    expect(existsSync(join(project, 'node_modules/pino'))).toBe(false); // what tsvmm needs is beside it only
    writeFileSync(join(project, 'main.js'), programs['main.js']);
    expect(await execute(process.execPath, ['main.js'], { cwd: project })).toEqual(printed);
    expect(await tsvmm(project, 'run', '-m', '64M', '--kernel', guestFile('hello'))).toEqual(greeting);
    expect((await tsvmm(project, 'run', '--help')).stdout).toContain('--kernel'); // by commander
  });

  test.each(['esm', 'cjs'] as const)('boots from a bundle of esbuild (%s), with tsvmm external', async (format) => {
    const outfile = join(folder, `esbuild.${format === 'esm' ? 'mjs' : 'cjs'}`);
    const entryPoints = [join(folder, 'entry.js')];
    await build({ entryPoints, outfile, format, bundle: true, platform: 'node', external: ['tsvmm'] });
    expect(await node(outfile)).toEqual(printed);
  });

  test.each([
    {
      type: 'module',
      filename: 'webpack.mjs',
      output: { library: { type: 'module' } },
      experiments: { outputModule: true },
    },
    { type: 'commonjs', filename: 'webpack.cjs', output: { library: { type: 'commonjs2' } }, experiments: {} },
  ])('boots from a bundle of webpack ($type), with tsvmm external', async ({ type, filename, output, experiments }) => {
    const errors = await bundleByWebpack({
      mode: 'production',
      target: 'node20',
      context: folder,
      entry: './entry.js',
      externals: { tsvmm: `${type} tsvmm` },
      output: { path: folder, filename, ...output },
      experiments,
    });
    expect(errors).toEqual([]);
    expect(await node(join(folder, filename))).toEqual(printed);
  });

  test.each(['forks', 'threads'])("boots in vitest's pool of %s", async (pool) => {
    const vitest = join(folder, 'node_modules/vitest');
    if (!existsSync(vitest)) symlinkSync(join(root, 'node_modules/vitest'), vitest);
    writeFileSync(join(folder, 'guest.test.js'), testProgram("import { expect, test } from 'vitest';"));
    const { stdout } = await run(process.execPath, join(vitest, 'vitest.mjs'), 'run', `--pool=${pool}`);
    expect(stdout).toMatch(/1 passed/);
  });

  test('boots in Jest, in its mode for ES modules', async () => {
    writeFileSync(join(folder, 'guest.jest.js'), testProgram(''));
    const config = { testMatch: ['**/*.jest.js'], transform: {}, cacheDirectory: published.file('jest') };
    const jest = [join(tools, 'jest/bin/jest.js'), '--ci', '--runInBand', '--config', JSON.stringify(config)];
    const { stderr } = await run(process.execPath, '--experimental-vm-modules', '--no-warnings', ...jest);
    expect(stderr).toMatch(/Tests: +1 passed, 1 total/);
    expect(stderr).not.toContain('did not exit');
  });
});

/** What webpack of the tools has to say against the program; it has no types here. */
function bundleByWebpack(options: object): Promise<string[]> {
  const webpack = createRequire(import.meta.url)(join(tools, 'webpack'));
  return new Promise((resolve, reject) => {
    const compiler = webpack(options);
    compiler.run((error: Error | null, stats: { toJson(): { errors: { message: string }[] } }) => {
      if (error !== null) return reject(error);
      const errors = stats.toJson().errors.map(({ message }) => message);
      compiler.close((failed: Error | null) => (failed ? reject(failed) : resolve(errors)));
    });
  });
}
