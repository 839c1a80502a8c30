/** The package, published and installed as users do: no compiler, no script, and a tiny guest boots from an empty folder. */
import { type SpawnSyncReturns, spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { nodeBinary } from '../support/node-binary.js';
import { Registry } from '../support/registry.js';
import { guestFile, whyNoKvm } from './support/guests.js';

const root = fileURLToPath(new URL('../..', import.meta.url));
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-installed-'));
const project = join(folder, 'project');
let registry: Registry;

/** npm without this user's settings and cache. */
const settings = { userconfig: join(folder, 'npmrc'), cache: join(folder, 'cache'), update_notifier: 'false' };
const environment = {
  ...Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^npm_/i.test(name))),
  ...Object.fromEntries(Object.entries(settings).map(([name, value]) => [`npm_config_${name}`, value])),
};

/** Runs npm beside the registry, which lives in this process. */
function npm(cwd: string, ...args: string[]): Promise<string> {
  return new Promise((resolve, reject) => {
    const child = spawn('npm', [...args, '--registry', registry.url], { cwd, env: environment, stdio: 'pipe' });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk.toString();
      });
    child.once('error', reject);
    child.once('close', (code) => {
      if (code === 0) resolve(output);
      else reject(new Error(`npm ${args.join(' ')} ended with ${code}:\n${output}`));
    });
  });
}

beforeAll(async () => {
  registry = await Registry.open(join(root, 'node_modules'));
  // What `npm publish` runs first, but for building: that was done before the tests.
  spawnSync(process.execPath, ['scripts/prepack.js', '--built'], { cwd: root, stdio: 'inherit' });
  await npm(root, 'pack', '--ignore-scripts', '--pack-destination', folder);
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { version: string };
  const token = `--${registry.url.replace(/^http:/, '')}:_authToken=loopback`;
  await npm(folder, 'publish', join(folder, `tsvmm-${version}.tgz`), token);
  mkdirSync(project);
  await npm(project, 'install', 'tsvmm', '--ignore-scripts', '--no-audit', '--no-fund');
}, 300_000);

afterAll(async () => {
  await registry.close();
  rmSync(folder, { recursive: true, force: true });
});

/** Runs the installed command. */
const tsvmm = (...args: string[]): SpawnSyncReturns<string> =>
  spawnSync(join(project, 'node_modules/.bin/tsvmm'), args, { cwd: project, encoding: 'utf8', input: '' });

describe('the published package', () => {
  test('has nothing that npm would run at an installation', () => {
    const published = registry.latest('tsvmm');
    expect(published).toBeDefined();
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
      expect(published!.scripts).not.toHaveProperty(name);
    // npm runs node-gyp for a package with a binding.gyp in its root.
    expect(existsSync(join(project, 'node_modules/tsvmm/binding.gyp'))).toBe(false);
    const lock = JSON.parse(readFileSync(join(project, 'package-lock.json'), 'utf8')) as {
      packages: Record<string, { hasInstallScript?: boolean; resolved?: string }>;
    };
    const installed = Object.entries(lock.packages).filter(([path]) => path !== '');
    expect(installed.map(([path]) => path)).toContain('node_modules/tsvmm');
    expect(installed.filter(([, { hasInstallScript }]) => hasInstallScript)).toEqual([]);
    for (const [path, { resolved }] of installed) expect(resolved, path).toMatch(new RegExp(`^${registry.url}`));
  });

  test('is outside the checkout', () => {
    expect(realpathSync(join(project, 'node_modules/.bin/tsvmm'))).toBe(
      realpathSync(join(project, 'node_modules/tsvmm/bin/tsvmm.js')),
    );
  });

  test('tells by its command whether machines can run here', () => {
    const { stdout, stderr } = tsvmm('doctor', '--json');
    expect(stderr).toBe('');
    expect(JSON.parse(stdout).checks).toContainEqual(expect.objectContaining({ name: 'addon', status: 'ok' }));
  });

  test.skipIf(whyNoKvm !== undefined)('boots a tiny guest by its command', () => {
    expect(tsvmm('run', '-m', '64M', '--kernel', guestFile('hello'))).toMatchObject({
      status: 0,
      stdout: 'hello from guest\n',
      stderr: '',
    });
  });

  test.skipIf(whyNoKvm !== undefined)('boots a tiny guest in a program that imports it', () => {
    const script = `
      import { VirtualMachine } from 'tsvmm';
      const vm = await VirtualMachine.start({ memory: '64M', boot: { kernel: ${JSON.stringify(guestFile('hello'))} } });
      vm.console.pipe(process.stdout);
      console.error((await vm.exited).reason);`;
    const options = { cwd: project, encoding: 'utf8' } as const;
    expect(spawnSync(process.execPath, ['--input-type=module', '-e', script], options)).toMatchObject({
      status: 0,
      stdout: 'hello from guest\n',
      stderr: 'power-off\n',
    });
  });

  test('on arm64 loads its addon and says what is missing', (context) => {
    if (spawnSync('qemu-aarch64-static', ['--version']).status !== 0)
      return context.skip('there is no qemu-user-static');
    if (!existsSync(join(project, 'node_modules/tsvmm/prebuilds/linux-arm64.node')))
      return context.skip('there was no compiler for arm64');
    const node = ['-L', '/usr/aarch64-linux-gnu', nodeBinary('linux-arm64', '20')];
    const program = [...node, join(project, 'node_modules/tsvmm/bin/tsvmm.js'), 'doctor', '--json'];
    const { status, stdout, stderr } = spawnSync('qemu-aarch64-static', program, { cwd: project, encoding: 'utf8' });
    expect({ status, stderr }).toEqual({ status: 5, stderr: '' });
    const { checks } = JSON.parse(stdout) as { checks: object[] };
    expect(checks).toContainEqual(expect.objectContaining({ name: 'addon', status: 'ok' }));
    expect(checks.at(-1)).toMatchObject({
      name: 'platform',
      status: 'fail',
      message: 'the machines that tsvmm builds are x86-64 ones so far; this is linux arm64',
    });
  });
});
