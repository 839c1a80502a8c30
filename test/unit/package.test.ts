/** The package as npm would publish it. */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-package-'));
const installed = join(folder, 'node_modules/tsvmm');
interface Manifest {
  version: string;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
  gypfile?: boolean;
  exports: Record<string, string | Record<string, string>>;
  bin: Record<string, string>;
}
let files: string[] = [];
let manifest: Manifest;

/** Runs Node in the folder where the package is installed, without the checkout in reach. */
const node = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });

beforeAll(() => {
  // What `npm pack` runs first, but for building: that was done before the tests, and others of them use the result.
  execFileSync(process.execPath, ['scripts/prepack.js', '--built'], { cwd: root });
  const packed = JSON.parse(
    execFileSync('npm', ['pack', '--json', '--silent', '--ignore-scripts', '--pack-destination', folder], {
      cwd: root,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'inherit'],
    }),
  );
  const [{ filename, files: listed }] = packed as [{ filename: string; files: { path: string }[] }];
  files = listed.map(({ path }) => path);
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', join(folder, filename), '-C', installed, '--strip-components=1']);
  manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Manifest;
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (!name.startsWith('.') && name !== 'tsvmm')
      symlinkSync(join(root, 'node_modules', name), join(folder, 'node_modules', name));
  }
}, 300_000);
afterAll(() => rmSync(folder, { recursive: true, force: true }));

describe('the package', () => {
  it('runs nothing when it is installed', () => {
    for (const name of ['preinstall', 'install', 'postinstall', 'prepare'])
      expect(manifest.scripts).not.toHaveProperty(name);
    expect(manifest.scripts['prepack']).toBe('node scripts/prepack.js');
    // npm would add "install": "node-gyp rebuild" for a binding.gyp in the root, unless told not to
    expect(manifest.gypfile).toBe(false);
    expect(files).not.toContain('binding.gyp');
  });

  it('holds the program, the bundles, their declarations and the addon', () => {
    for (const file of [
      'bin/tsvmm.js',
      'dist/index.js',
      'dist/cli.cjs',
      'dist/vcpu-worker.cjs',
      'dist/io-worker.cjs',
      'dist/code/cli.js',
      'dist/types/index.d.ts',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'docs/errors.md',
    ]) {
      expect(files).toContain(file);
    }
    expect(files.filter((file) => file.startsWith('prebuilds/')).length).toBeGreaterThan(0);
    expect(statSync(join(installed, 'bin/tsvmm.js')).mode & 0o111).not.toBe(0);
  });

  it('holds nothing else', () => {
    const expected = /^(bin|dist|docs|native|prebuilds|src)\/|^(package\.json|README\.md|CHANGELOG\.md|LICENSE)$/;
    expect(files.filter((file) => !expected.test(file))).toEqual([]);
  });

  it('has every file that its exports and bin name', () => {
    const named = [...Object.values(manifest.exports), manifest.bin].flatMap((target) =>
      typeof target === 'string' ? [target] : Object.values(target),
    );
    expect(named.length).toBeGreaterThan(2);
    for (const file of named) expect(existsSync(join(installed, file)), file).toBe(true);
    expect(Object.keys(manifest.exports['.'] as object)[0]).toBe('types');
  });

  it('needs few other packages', () => {
    expect(Object.keys(manifest.dependencies).sort()).toEqual(['commander', 'pino']);
    expect(Object.keys(manifest.optionalDependencies)).toEqual(['ffi-rs']);
  });
});

describe('the package, installed', () => {
  it('runs its program', () => {
    expect(node(join(installed, 'bin/tsvmm.js'), '--version')).toBe(`${manifest.version}\n`);
    const report = JSON.parse(
      node(
        '-e',
        `
      const { spawnSync } = require('node:child_process');
      process.stdout.write(spawnSync(process.execPath, [${JSON.stringify(join(installed, 'bin/tsvmm.js'))}, 'doctor', '--json'], { encoding: 'utf8' }).stdout)`,
      ),
    );
    expect(report.checks).toContainEqual(expect.objectContaining({ name: 'addon', status: 'ok' }));
  });

  it('is imported without side effects, from ESM and, where Node can, from CommonJS', () => {
    // Node's own loader reads files with libuv's threads: they are there before the first look.
    const script = `
      import { readdirSync } from 'node:fs';
      import { readFile } from 'node:fs/promises';
      await readFile('/proc/self/stat');
      const look = () => [readdirSync('/proc/self/task').length, process.listenerCount('SIGTERM'), process.listenerCount('exit')];
      const before = look();
      const { VirtualMachine } = await import('tsvmm');
      await new Promise(setImmediate);
      console.log(JSON.stringify([typeof VirtualMachine.start, before.join() === look().join(), process.getActiveResourcesInfo()]));`;
    expect(JSON.parse(node('--input-type=module', '-e', script))).toEqual(['function', true, []]);
    const required = `const m = require('tsvmm'); console.log(typeof m.VirtualMachine.start)`;
    if ('require_module' in process.features) expect(node('--no-warnings', '-e', required)).toBe('function\n');
  });

  it('imports nothing but Node before it is needed', () => {
    const packages = (file: string): string[] =>
      [
        ...readFileSync(join(installed, 'dist', file), 'utf8').matchAll(
          /\b(?:import|export)\b[^;"]*?from\s*"([^"]+)"|\bimport\s*"([^"]+)"/gm,
        ),
      ].map((match) => match[1] ?? match[2]!);
    const bundles = readdirSync(join(installed, 'dist')).filter((name) => name.endsWith('.js'));
    expect(bundles.length).toBeGreaterThan(3);
    // Chunks of the bundles import each other; whatever else is imported is Node's own.
    for (const file of bundles) for (const name of packages(file)) expect(name, file).toMatch(/^(?:node:|\.\/)/);
    expect(bundles.flatMap(packages)).toContain('node:worker_threads');
  });
});
