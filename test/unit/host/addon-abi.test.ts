/** What the addons that the package carries ask of a host's C library, and that they load where they are to load. */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { ensureNpmTools } from '../../../scripts/npm-tools.js';
import { packageRoot } from '../../../src/host/addon.js';

const sources = join(packageRoot(), 'test/unit/host/addon');
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-addon-'));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const output = (program: string, ...args: string[]): string => execFileSync(program, args, { encoding: 'utf8' });
/** The first of these programs that is not there. */
const missing = (...programs: string[]): string | undefined =>
  programs.find((name) => spawnSync('sh', ['-c', `command -v ${name}`]).status !== 0);
const prebuildOf = (arch: string): string => join(packageRoot(), `prebuilds/linux-${arch}.node`);
const prebuild = (arch: string): void => {
  execFileSync(process.execPath, [join(packageRoot(), 'scripts/prebuild.js'), arch], { stdio: 'inherit' });
};
const compilers = { x64: 'g++', arm64: 'aarch64-linux-gnu-g++' };

/** The oldest C library that official Node 20 binaries run on. */
const floor = [2, 28] as const;

const isAbove = (version: string, limit: readonly number[]): boolean => {
  const parts = version.split('.').map(Number);
  const at = limit.findIndex((number, i) => (parts[i] ?? 0) !== number);
  return at < 0 ? parts.length > limit.length : (parts[at] ?? 0) > limit[at]!;
};

describe.each(['x64', 'arm64'] as const)('the addon for %s', (arch) => {
  const addon = prebuildOf(arch);
  const why = missing('objdump', 'readelf', 'nm', compilers[arch]);
  const needed = why === undefined ? '' : ` (skipped: there is no ${why})`;

  describe.skipIf(needed !== '')(`as it is linked${needed}`, () => {
    beforeAll(() => prebuild(arch), 240_000);
    const symbols = (): string[] => output('nm', '-D', '--undefined-only', '--format=posix', addon).trim().split('\n');

    it('runs with every C library from 2.28', () => {
      const versions = [...output('readelf', '--wide', '-V', addon).matchAll(/GLIBC_([\d.]+)/g)].map(([, v]) => v!);
      expect(versions.length).toBeGreaterThan(0);
      expect(versions.filter((version) => isAbove(version, floor))).toEqual([]);
    });

    it('needs one library, the C library, which musl takes for itself under that name', () => {
      const names = [...output('readelf', '-d', addon).matchAll(/\(NEEDED\).*\[(.*?)\]/g)].map(([, name]) => name);
      expect(names).toEqual(['libc.so.6']);
    });

    it('asks only for what both C libraries have, and Node', (context) => {
      const musl = '/lib/x86_64-linux-musl/libc.so';
      if (!existsSync(musl)) return context.skip('musl is not here: apt-get install musl-tools');
      const provided = new Set(
        output('nm', '-D', '--defined-only', '--format=posix', musl)
          .split('\n')
          .map((line) => line.split(' ')[0]),
      );
      const names = symbols().filter((line) => / [Uw]$| [Uw] /.test(line));
      expect(names.length).toBeGreaterThan(30);
      const others = names
        .map((line) => line.split(' '))
        .map(([name = '', kind]) => ({ name: name.replace(/@.*/, ''), kind }))
        .filter(({ name, kind }) => !name.startsWith('napi_') && !provided.has(name) && kind !== 'w');
      expect(others).toEqual([]);
    });

    it('stays in memory when the worker that loaded it ends, and is bound at load', () => {
      const dynamic = output('readelf', '-d', addon);
      expect(dynamic).toMatch(/\(FLAGS_1\).*\bNODELETE\b/);
      expect(dynamic).toMatch(/\(FLAGS_1\).*\bNOW\b/);
    });

    it('exports only what Node looks for', () => {
      const exported = output('nm', '-D', '--defined-only', '--format=posix', addon)
        .trim()
        .split('\n')
        .map((line) => line.split(' ')[0]);
      expect(exported.sort()).toEqual(['napi_register_module_v1', 'node_api_module_get_api_version_v1']);
    });
  });
});

describe('the addon in a process of another C library', () => {
  /** Builds the host program with that compiler, runs it and answers what it said. */
  const run = (compiler: string): { answers: Record<string, string>; libraries: string[] } => {
    prebuild('x64');
    const program = join(folder, compiler);
    const source = join(sources, 'other-libc.c');
    execFileSync(compiler, ['-std=gnu11', '-O1', '-rdynamic', '-o', program, source, '-ldl'], { stdio: 'inherit' });
    const lines = output(program, prebuildOf('x64')).trim().split('\n');
    const pairs = lines.map((line) => line.split(': ') as [string, string]);
    return {
      answers: Object.fromEntries(pairs.filter(([what]) => what !== 'library')),
      libraries: pairs.filter(([what]) => what === 'library').map(([, name]) => name),
    };
  };
  const expected = {
    ...{ abi: '4', getpid: '1', EBADF: '-9', ioctl: '-9', threadId: '1', backendFd: '-38' },
    ...{ kickSignal: '1', 'kick is harmless': '0', ftruncate: '0', aligned: '1', guard: '0' },
    ...{
      'read behind the end': '0',
      failed: '1',
      unguard: '0',
      openFd: '1',
      closeFd: '0',
      holders: '0',
      release: '-22',
    },
  };

  it.for(['gcc', 'musl-gcc'])('built with %s', (compiler, context) => {
    if (process.arch !== 'x64') return context.skip('for x64');
    const absent = missing(compiler);
    if (absent !== undefined) return context.skip(`there is no ${absent}`);
    const { answers, libraries } = run(compiler);
    expect(answers).toEqual(expected);
    expect(libraries.filter((name) => name.includes('libc'))).toEqual([compiler === 'gcc' ? 'libc.so.6' : 'libc.so']);
    expect(libraries.filter((name) => name.includes('stdc++'))).toEqual([]);
  });
});

describe('the addon for arm64, on Node for arm64 under qemu-user', () => {
  it('loads, maps, wraps and kicks', async (context) => {
    const absent = missing('qemu-aarch64-static', 'aarch64-linux-gnu-g++');
    if (absent !== undefined) return context.skip(`there is no ${absent}`);
    prebuild('arm64');
    const node = join(await ensureNpmTools('arm64'), 'node_modules/node20/bin/node');
    const script = `
      const module = { exports: {} };
      process.dlopen(module, ${JSON.stringify(prebuildOf('arm64'))});
      const n = module.exports;
      const address = n.mapMemory(8192, 3, 0x22, -1, 0, 0);
      const view = new Uint8Array(n.wrapMemory(address, 8192));
      view[5] = 7;
      const copy = new Uint8Array(1);
      n.copyOut(address + 5, copy);
      console.log(JSON.stringify({
        arch: process.arch, abi: n.abi, copied: copy[0], getpid: n.syscall(172) === process.pid, close: n.syscall(57, -1),
        holders: n.memoryHolders(address), detached: n.detach(view.buffer), length: view.length,
        kick: n.kickSignal() > 32, loop: n.backendFd() >= 0, layout: n.layouts().kvm_userspace_memory_region.size,
      }));`;
    const emulated = ['-L', '/usr/aarch64-linux-gnu', node, '-e', script];
    expect(JSON.parse(output('qemu-aarch64-static', ...emulated))).toEqual({
      ...{ arch: 'arm64', abi: 4, copied: 7, getpid: true, close: -9, holders: 2, detached: 0, length: 0 },
      ...{ kick: true, loop: true, layout: 32 },
    });
  }, 240_000);
});

describe('versions', () => {
  it('are compared as numbers', () => {
    expect(isAbove('2.28', floor)).toBe(false);
    expect(isAbove('2.4', floor)).toBe(false);
    expect(isAbove('2.34', floor)).toBe(true);
    expect(isAbove('2.28.1', floor)).toBe(true);
  });
});
