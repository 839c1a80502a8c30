/** The package as npm would publish it. */
import { execFileSync, spawnSync } from 'node:child_process';
import {
  cpSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join, relative } from 'node:path';
import { publint } from 'publint';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { packageRoot } from '../../src/host/addon.js';

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-package-'));
const installed = join(folder, 'node_modules/tsvmm');
const release = join(folder, 'release');
interface Manifest {
  version: string;
  scripts: Record<string, string>;
  dependencies: Record<string, string>;
  optionalDependencies: Record<string, string>;
  peerDependencies: Record<string, string>;
  peerDependenciesMeta: Record<string, object>;
  gypfile?: boolean;
  exports: Record<string, string | Record<string, string>>;
  bin: Record<string, string>;
}
let files: { path: string; size: number }[] = [];
let manifest: Manifest;
let tarball: string;
let told: string;
const paths = (): string[] => files.map(({ path }) => path);

/** Runs Node in the folder where the package is installed, without the checkout in reach. */
const node = (...args: string[]): string => execFileSync(process.execPath, args, { cwd: folder, encoding: 'utf8' });

beforeAll(() => {
  // A release, but for building and for git: that was done before the tests, and others of them use the result.
  const command = ['scripts/release.js', '--rehearse', '--out', release];
  told = execFileSync(process.execPath, command, { cwd: root, encoding: 'utf8' });
  const { version } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as Manifest;
  tarball = join(release, `tsvmm-${version}.tgz`);
  mkdirSync(installed, { recursive: true });
  execFileSync('tar', ['-xzf', tarball, '-C', installed, '--strip-components=1']);
  manifest = JSON.parse(readFileSync(join(installed, 'package.json'), 'utf8')) as Manifest;
  files = readdirSync(installed, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name))
    .map((path) => ({ path: relative(installed, path), size: statSync(path).size }));
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
    expect(paths()).not.toContain('binding.gyp');
  });

  it('holds the program, the bundles, their declarations and the addon', () => {
    for (const file of [
      'bin/tsvmm.js',
      'dist/index.js',
      'dist/testing.js',
      'dist/cli.cjs',
      'dist/vcpu-worker.cjs',
      'dist/io-worker.cjs',
      'dist/code/cli.js',
      'dist/types/index.d.ts',
      'dist/types/testing/index.d.ts',
      'LICENSE',
      'README.md',
      'CHANGELOG.md',
      'docs/errors.md',
    ]) {
      expect(paths()).toContain(file);
    }
    expect(paths()).toContain(`prebuilds/linux-${process.arch}.node`);
    expect(statSync(join(installed, 'bin/tsvmm.js')).mode & 0o111).not.toBe(0);
  });

  it('holds nothing else', () => {
    const expected = [
      /^bin\/(tsvmm\.js|package\.json)$/,
      /^dist\/[\w-]+\.c?js$/,
      /^dist\/code\/[\w-]+\.js$/,
      /^dist\/types\/[\w./-]+\.d\.ts$/,
      /^docs\/[\w./-]+\.md$/,
      /^prebuilds\/linux-(x64|arm64)\.node$/,
      /^(package\.json|(README|CHANGELOG|CONTRIBUTING|SECURITY)\.md|LICENSE)$/,
    ];
    expect(paths().filter((path) => !expected.some((pattern) => pattern.test(path)))).toEqual([]);
  });

  it('has pages whose links lead to what is in it', () => {
    const pages = paths().filter((path) => path.endsWith('.md'));
    expect(pages).toContain('CONTRIBUTING.md');
    for (const page of pages) {
      const text = readFileSync(join(installed, page), 'utf8');
      for (const [, target] of text.matchAll(/\]\(([^)\s#]+)[^)]*\)/g))
        if (!/^[a-z]+:/.test(target!))
          expect(existsSync(join(installed, dirname(page), target!)), `${page}: ${target}`).toBe(true);
    }
  });

  it('is smaller than 3 MB, as it travels and as it lies on a disk', () => {
    const packed = statSync(tarball).size;
    const unpacked = files.reduce((sum, { size }) => sum + size, 0);
    console.log(`the package: ${packed} bytes packed, ${unpacked} unpacked, ${files.length} files`);
    expect(packed).toBeLessThan(1e6);
    expect(unpacked).toBeLessThan(3e6);
  });

  it('tells nothing of the machine that built it', () => {
    const telling = [root, folder, '/node_modules/'].map((path) => Buffer.from(path));
    for (const { path } of files) {
      const content = readFileSync(join(installed, path));
      for (const text of telling) expect(content.includes(text), `${path}: ${text}`).toBe(false);
    }
  });

  it('leaves a terminal readable after an error that nobody catches', () => {
    // Node prints the line that threw it.
    const program = "import { VirtualMachine } from 'tsvmm'; await VirtualMachine.start({ memory: 'much' });";
    const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program], {
      cwd: folder,
      encoding: 'utf8',
    });
    expect(status).toBe(1);
    expect(stderr).toContain('memory: "much" is not a size');
    expect(stderr.length).toBeLessThan(4096);
    for (const path of paths().filter((name) => /^dist\/.*\.c?js$/.test(name))) {
      const lines = readFileSync(join(installed, path), 'utf8').split('\n');
      expect(Math.max(...lines.map((line) => line.length)), path).toBeLessThan(1000);
    }
  });

  it('is what publint asks for', async () => {
    const { messages } = await publint({ pkgDir: installed, strict: true });
    expect(messages).toEqual([]);
  });

  it('has types that every way of importing finds', async () => {
    const { checkPackage, createPackageFromTarballData } = await import('@arethetypeswrong/core');
    const result = await checkPackage(createPackageFromTarballData(readFileSync(tarball)));
    if (result.types === false) throw new Error('the package has no types');
    // Node before 20.19 cannot require() an ES module, and `engines` leaves those out.
    expect(result.problems.filter(({ kind }) => kind !== 'CJSResolvesToESM')).toEqual([]);
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
    expect(Object.keys(manifest.peerDependencies)).toEqual(['vitest']);
    expect(manifest.peerDependenciesMeta).toEqual({ vitest: { optional: true } });
  });
});

describe('a release', () => {
  it('has the package, what it is made of, and the checksums of both', () => {
    const sbom = `tsvmm-${manifest.version}.cdx.json`;
    expect(readdirSync(release).sort()).toEqual(['SHA256SUMS', sbom, `tsvmm-${manifest.version}.tgz`].sort());
    execFileSync('sha256sum', ['--check', '--strict', '--quiet', 'SHA256SUMS'], { cwd: release });
    const { bomFormat, metadata, components } = JSON.parse(readFileSync(join(release, sbom), 'utf8')) as {
      bomFormat: string;
      metadata: { component: { name: string; version: string } };
      components: { name: string; version: string; purl: string; hashes?: object[] }[];
    };
    expect(bomFormat).toBe('CycloneDX');
    expect(metadata.component).toMatchObject({ name: 'tsvmm', version: manifest.version });
    const names = components.map(({ name }) => name);
    for (const name of ['commander', 'pino', 'ffi-rs']) expect(names).toContain(name);
    for (const name of ['vitest', 'typescript', 'esbuild', 'node-gyp']) expect(names).not.toContain(name);
    for (const { name, purl, hashes } of components)
      expect([purl.startsWith('pkg:npm/'), hashes?.length], name).toEqual([true, 1]);
  });

  it('says how to publish it: with provenance where npm could give it', () => {
    const named = 'repository' in manifest;
    expect(told).toContain('npm publish ');
    expect(/ --provenance$/m.test(told)).toBe(named);
    expect(told.includes('package.json has no repository')).toBe(!named);
  });

  it('is refused from a tree that does not say what it is', () => {
    const copy = join(folder, 'copy');
    for (const path of ['package.json', 'package-lock.json', 'scripts'])
      cpSync(join(root, path), join(copy, path), { recursive: true });
    writeFileSync(join(copy, 'CHANGELOG.md'), '## [Unreleased]\n\n## [0.0.1]\n');
    writeFileSync(join(copy, 'package.json'), JSON.stringify({ ...manifest, version: '9.9.9' }));
    execFileSync('git', ['init', '-q'], { cwd: copy });
    const { status, stderr } = spawnSync(process.execPath, ['scripts/release.js'], { cwd: copy, encoding: 'utf8' });
    expect(status).toBe(1);
    expect(stderr).toContain('9.9.9 cannot be released');
    expect(stderr).toContain('the tree has changes');
    expect(stderr).toContain(`package-lock.json has version ${manifest.version}`);
    expect(stderr).toContain('CHANGELOG.md has no section for it');
    expect(existsSync(join(copy, '.cache'))).toBe(false);
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

  it("has machines for a project's own vitest", () => {
    writeFileSync(
      join(folder, 'machine.test.js'),
      `import { vmTest } from 'tsvmm/testing';
       const test = vmTest({ boot: { kernel: '/nonexistent' } });
       test('one', ({ vm }) => vm.kill());
       test('two', ({ vm }) => vm.kill());`,
    );
    const command = [join(folder, 'node_modules/vitest/vitest.mjs'), 'run', '--no-color', 'machine.test.js'];
    const { stdout, stderr } = spawnSync(process.execPath, command, { cwd: folder, encoding: 'utf8' });
    expect(stdout).toMatch(/Tests +2 failed/);
    expect(stderr.match(/TsvmmError: vmTest: the machine did not become ready: /g)).toHaveLength(1);
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
    // Chunks of the bundles import each other; whatever else is imported is Node's own, but for what tests have loaded.
    for (const file of bundles.filter((name) => name !== 'testing.js'))
      for (const name of packages(file)) expect(name, file).toMatch(/^(?:node:|\.\/(?!testing))/);
    expect(
      packages('testing.js')
        .filter((name) => !name.startsWith('node:'))
        .sort(),
    ).toEqual(['./index.js', 'vitest']);
    expect(bundles.flatMap(packages)).toContain('node:worker_threads');
  });
});
