/**
 * Loads the shim, at first use and never at import, and refuses runtimes it cannot live in. Any thread.
 */
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TsvmmError } from '../errors.js';
import type { Native } from './native.js';
import { permissionFlags, whyNotThisRuntime } from './runtime.js';

/** The version of native.ts; native/shim.h has the same. */
const abi = 4;

let loaded: Native | undefined;

/** The shim. Throws `ERR_TSVMM_UNSUPPORTED_RUNTIME`, `_UNSUPPORTED_PLATFORM` or `_NATIVE_MISSING`. */
export function native(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  const addon = loadAddon();
  // System call numbers and the KVM structures in src/ are x86-64's.
  if (process.arch !== 'x64') throw unsupported('the machines that tsvmm builds are x86-64 ones so far');
  return addon;
}

/** The addon of this architecture, with either C library: one file serves both (docs/decisions/0008). */
export function loadAddon(): Native {
  refuseRuntime();
  if (process.platform !== 'linux') throw unsupported('tsvmm needs KVM, which only Linux has');
  const root = packageRoot();
  const failures: string[] = [];
  for (const file of [join(root, 'build/Release/tsvmm.node'), join(root, `prebuilds/linux-${process.arch}.node`)]) {
    if (!existsSync(file)) {
      failures.push(`${file}: not there`);
      continue;
    }
    const module: { exports: { abi?: unknown } } = { exports: {} };
    try {
      process.dlopen(module, file);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ERR_DLOPEN_DISABLED') throw addonsDenied(error);
      failures.push(`${file}: ${foreign(file) ?? (error instanceof Error ? error.message : String(error))}`);
      continue;
    }
    if (module.exports.abi === abi) return module.exports as unknown as Native;
    failures.push(`${file}: is of another version of tsvmm (interface ${module.exports.abi}, not ${abi})`);
  }
  throw new TsvmmError(
    'ERR_TSVMM_NATIVE_MISSING',
    `the native addon could not be loaded:\n  ${failures.join('\n  ')}`,
    {
      hint: existsSync(join(root, 'binding.gyp'))
        ? 'build it with: npm run build:native (needs python3, make and g++)'
        : 'install tsvmm again; for a system that the package has no addon for, build it in a checkout with: npm run build:native',
    },
  );
}

const unsupported = (why: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_UNSUPPORTED_PLATFORM', `${why}; this is ${process.platform} ${process.arch}`, {
    hint: 'run it on an x86-64 Linux host with KVM',
  });

/** e_machine of the ELF header by Node's names for architectures. */
const machines: Readonly<Record<number, string>> = { 3: 'ia32', 40: 'arm', 62: 'x64', 183: 'arm64', 243: 'riscv64' };

/** What is wrong with a file that was built for another machine, or is no addon at all (trap T40): dlopen's words do not say. */
function foreign(file: string): string | undefined {
  const header = readFileSync(file).subarray(0, 20);
  if (header.length < 20 || header.toString('latin1', 0, 4) !== '\x7fELF') return 'is damaged: not an ELF file';
  const machine = header.readUInt16LE(18);
  const name = machines[machine] ?? `ELF machine ${machine}`;
  return name === process.arch ? undefined : `is built for ${name}, and this is ${process.arch}`;
}

function refuseRuntime(): void {
  const why = whyNotThisRuntime();
  if (why !== undefined) throw new TsvmmError('ERR_TSVMM_UNSUPPORTED_RUNTIME', why.message, { hint: why.hint });
}

/** Node's permission model (`--permission`): the flag is what is missing, not the file. */
const addonsDenied = (cause: unknown): TsvmmError =>
  new TsvmmError('ERR_TSVMM_NATIVE_MISSING', 'this process may not load native addons, and tsvmm has one', {
    hint: `run Node.js with ${permissionFlags}, or without --permission and --no-addons`,
    cause,
  });

/** The folder of this package: the nearest one above this module that has its package.json. */
export function packageRoot(): string {
  let folder = dirname(fileURLToPath(import.meta.url));
  while (!existsSync(join(folder, 'package.json'))) {
    const parent = dirname(folder);
    if (parent === folder) return folder;
    folder = parent;
  }
  return folder;
}
