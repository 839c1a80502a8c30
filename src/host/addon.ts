/**
 * Loads the shim, at first use and never at import, and refuses runtimes it cannot live in. Any thread.
 */
import { existsSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { TsvmmError } from '../errors.js';
import type { Native } from './native.js';

let loaded: Native | undefined;

/** The shim. Throws `ERR_TSVMM_UNSUPPORTED_RUNTIME`, `_UNSUPPORTED_PLATFORM` or `_NATIVE_MISSING`. */
export function native(): Native {
  loaded ??= load();
  return loaded;
}

function load(): Native {
  refuseRuntime();
  if (process.platform !== 'linux' || process.arch !== 'x64') {
    throw new TsvmmError(
      'ERR_TSVMM_UNSUPPORTED_PLATFORM',
      `tsvmm runs on Linux x64, this is ${process.platform} ${process.arch}`,
      {
        hint: 'run it on an x86-64 Linux host with KVM',
      },
    );
  }
  const root = packageRoot();
  const candidates = [
    join(root, 'build/Release/tsvmm.node'),
    ...['gnu', 'musl'].map((libc) => join(root, `prebuilds/linux-x64-${libc}.node`)),
  ];
  const failures: string[] = [];
  for (const file of candidates) {
    if (!existsSync(file)) {
      failures.push(`${file}: not there`);
      continue;
    }
    try {
      const module = { exports: {} };
      process.dlopen(module, file);
      return module.exports as Native;
    } catch (error) {
      failures.push(`${file}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new TsvmmError(
    'ERR_TSVMM_NATIVE_MISSING',
    `the native addon could not be loaded:\n  ${failures.join('\n  ')}`,
    {
      hint: 'build it with: npm run build:native (needs python3, make and g++)',
    },
  );
}

/** Bun, Deno and Electron abort inside the addon instead of failing to load it (contract §1.10). */
function refuseRuntime(): void {
  const { versions } = process;
  const other = ['bun', 'deno', 'electron'].find((name) => versions[name] !== undefined);
  if (other === undefined) return;
  throw new TsvmmError('ERR_TSVMM_UNSUPPORTED_RUNTIME', `tsvmm needs Node.js; this is ${other} ${versions[other]}`, {
    hint: 'run it with Node.js 20.19 or newer',
  });
}

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
