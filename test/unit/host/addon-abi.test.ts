/** What the addon asks of a host's C library, and how it is linked. */
import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { packageRoot } from '../../../src/host/addon.js';

const addon = join(packageRoot(), 'build/Release/tsvmm.node');
const read = (program: string, ...args: string[]): string =>
  execFileSync(program, [...args, addon], { encoding: 'utf8' });
const hasBinutils = ((): boolean => {
  try {
    execFileSync('objdump', ['--version']);
    return true;
  } catch {
    return false;
  }
})();

/** The oldest C library that official Node 20 binaries run on. */
const floor = [2, 28] as const;
/** GCC 8's libstdc++, which comes with such a C library. */
const cxxFloor = [3, 4, 25] as const;

const isAbove = (version: string, limit: readonly number[]): boolean => {
  const parts = version.split('.').map(Number);
  const at = limit.findIndex((number, i) => (parts[i] ?? 0) !== number);
  return at < 0 ? parts.length > limit.length : (parts[at] ?? 0) > limit[at]!;
};

describe.skipIf(!hasBinutils)('the addon (needs objdump and readelf of binutils)', () => {
  it('runs with every C library from 2.28', () => {
    const symbols = read('objdump', '-T');
    const versions = [...symbols.matchAll(/GLIBC_([\d.]+)/g)].map(([, version]) => version!);
    expect(versions.length).toBeGreaterThan(0);
    expect(versions.filter((version) => isAbove(version, floor))).toEqual([]);
    const cxx = [...symbols.matchAll(/GLIBCXX_([\d.]+)/g)].map(([, version]) => version!);
    expect(cxx.filter((version) => isAbove(version, cxxFloor))).toEqual([]);
  });

  it('stays in memory when the worker that loaded it ends, and is bound at load', () => {
    const dynamic = read('readelf', '-d');
    expect(dynamic).toMatch(/\(FLAGS_1\).*\bNODELETE\b/);
    expect(dynamic).toMatch(/\(FLAGS_1\).*\bNOW\b/);
  });

  it('needs no library but those that Node itself needs', () => {
    const needed = [...read('readelf', '-d').matchAll(/\(NEEDED\).*\[(.*?)\]/g)].map(([, name]) => name!);
    for (const name of needed)
      expect(['libstdc++.so.6', 'libgcc_s.so.1', 'libc.so.6', 'libm.so.6', 'libpthread.so.0']).toContain(name);
  });

  it('exports only what Node looks for', () => {
    const exported = read('objdump', '-T')
      .split('\n')
      .filter((line) => /\bg\s+DF\s+\.text/.test(line))
      .map((line) => line.trim().split(/\s+/).at(-1)!);
    expect(exported.length).toBeGreaterThan(0);
    for (const name of exported) expect(name).toMatch(/^(napi_register_module_v1|node_api_module_get_api_version_v1)$/);
  });
});

describe('versions', () => {
  it('are compared as numbers', () => {
    expect(isAbove('2.28', floor)).toBe(false);
    expect(isAbove('2.4', floor)).toBe(false);
    expect(isAbove('2.34', floor)).toBe(true);
    expect(isAbove('2.28.1', floor)).toBe(true);
    expect(isAbove('3.4.26', cxxFloor)).toBe(true);
  });
});
