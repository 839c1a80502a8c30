/** Finding and refusing the addon: what stands in its place, by what the error says. */
import { execFileSync, spawnSync } from 'node:child_process';
import { copyFileSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { build } from 'esbuild';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { packageRoot } from '../../../src/host/addon.js';

const root = packageRoot();
const folder = mkdtempSync(join(tmpdir(), 'tsvmm-loader-'));
const built = join(folder, 'build/Release/tsvmm.node');
const prebuilt = join(folder, `prebuilds/linux-${process.arch}.node`);

beforeAll(async () => {
  writeFileSync(join(folder, 'package.json'), '{ "type": "module" }');
  const loader = join(folder, 'dist/loader.js');
  const script = `
    import { native } from ${JSON.stringify(join(root, 'src/host/addon.ts'))};
    // Which runtime or platform this is to pass for.
    for (const [name, value] of Object.entries(JSON.parse(process.argv[2] ?? '{}')))
      if (name === 'versions') Object.defineProperty(process, name, { value: { ...process.versions, ...value } });
      else Object.defineProperty(process, name, { value });
    try {
      console.log(JSON.stringify({ abi: native().abi }));
    } catch ({ code, message, hint }) {
      console.log(JSON.stringify({ code, message, hint }));
    }`;
  const stdin = { contents: script, resolveDir: folder };
  await build({ stdin, outfile: loader, bundle: true, platform: 'node', format: 'esm', logLevel: 'silent' });
});
beforeEach(() => {
  for (const name of ['build', 'prebuilds', 'binding.gyp'])
    rmSync(join(folder, name), { recursive: true, force: true });
  mkdirSync(join(folder, 'build/Release'), { recursive: true });
  mkdirSync(join(folder, 'prebuilds'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

/** What native() answered or threw in a Node of its own, which a bad file may take down. */
function load(pretend: object = {}): { abi?: number; code?: string; message?: string; hint?: string } {
  const { stdout, stderr } = spawnSync(process.execPath, ['dist/loader.js', JSON.stringify(pretend)], {
    cwd: folder,
    encoding: 'utf8',
  });
  expect(stderr).toBe('');
  return JSON.parse(stdout);
}
const good = (): void => copyFileSync(join(root, 'build/Release/tsvmm.node'), prebuilt);

/** A file that begins as an ELF file of that machine does, and is otherwise the good addon. */
function forMachine(machine: number): void {
  good();
  execFileSync('dd', [`of=${prebuilt}`, 'bs=1', 'seek=18', 'conv=notrunc', 'status=none'], {
    input: Buffer.from([machine & 0xff, machine >> 8]),
  });
}

describe('the addon', () => {
  it('is taken from the package', () => {
    good();
    expect(load()).toEqual({ abi: 4 });
  });

  it('is missing: both places are named, and the remedy is one for users', () => {
    const { code, message, hint } = load();
    expect(code).toBe('ERR_TSVMM_NATIVE_MISSING');
    expect(message).toContain(`${built}: not there`);
    expect(message).toContain(`${prebuilt}: not there`);
    expect(hint).toMatch(/^install tsvmm again/);
  });

  it('is missing in a checkout: the remedy is to build it', () => {
    writeFileSync(join(folder, 'binding.gyp'), '');
    expect(load().hint).toMatch(/^build it with: npm run build:native/);
  });

  it('T40: of another architecture is refused by name', () => {
    forMachine(183);
    const { code, message } = load();
    expect(code).toBe('ERR_TSVMM_NATIVE_MISSING');
    expect(message).toContain(`${prebuilt}: is built for arm64, and this is x64`);
    forMachine(999);
    expect(load().message).toContain('is built for ELF machine 999');
  });

  it('T40: cut off, or another kind of file, is refused as damaged', () => {
    writeFileSync(prebuilt, 'version https://git-lfs.github.com/spec/v1\n');
    expect(load().message).toContain(`${prebuilt}: is damaged: not an ELF file`);
    writeFileSync(prebuilt, '');
    expect(load().message).toContain(`${prebuilt}: is damaged: not an ELF file`);
  });

  it('T40: of another version of tsvmm is refused, and the next one is tried', () => {
    const source = join(folder, 'old.c');
    writeFileSync(source, 'void *napi_register_module_v1(void *env, void *exports) { return exports; }');
    execFileSync('gcc', ['-shared', '-fPIC', '-o', built, source]);
    expect(load().message).toContain(`${built}: is of another version of tsvmm (interface undefined, not 4)`);
    good();
    expect(load()).toEqual({ abi: 4 });
  });

  it('is not loaded where it could not work', () => {
    good();
    for (const runtime of ['bun', 'deno', 'electron']) {
      const { code, message } = load({ versions: { [runtime]: '1.2.3' } });
      expect([code, message]).toEqual([
        'ERR_TSVMM_UNSUPPORTED_RUNTIME',
        `tsvmm needs Node.js; this is ${runtime} 1.2.3`,
      ]);
    }
    expect(load({ platform: 'darwin' })).toMatchObject({
      code: 'ERR_TSVMM_UNSUPPORTED_PLATFORM',
      message: 'tsvmm needs KVM, which only Linux has; this is darwin x64',
    });
  });

  it('may be there for an architecture whose machine is not', () => {
    copyFileSync(join(root, 'build/Release/tsvmm.node'), join(folder, 'prebuilds/linux-arm64.node'));
    // This Node passes for one of arm64, and so does its addon.
    expect(load({ arch: 'arm64' })).toMatchObject({
      code: 'ERR_TSVMM_UNSUPPORTED_PLATFORM',
      message: 'the machines that tsvmm builds are x86-64 ones so far; this is linux arm64',
    });
  });
});
