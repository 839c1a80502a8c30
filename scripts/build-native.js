/**
 * Builds the addon, build/Release/tsvmm.node, with node-gyp: `npm run build:native`.
 *
 *   node scripts/build-native.js [--force]
 *
 * node-gyp downloads Node's headers unless it is told where they are; beside most Node binaries there is a copy.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hashOf, isBuiltFrom, markBuiltFrom, projectRoot } from './inputs.js';

const product = 'build/Release/tsvmm.node';
const stamp = `${product}.inputs`;

/** The hash of everything that the addon is made from. */
function inputs() {
  const headers = join(projectRoot, 'node_modules/node-addon-api/package.json');
  return hashOf(['native', 'binding.gyp'], [process.arch, JSON.parse(readFileSync(headers, 'utf8')).version]);
}

export const nativeIsBuilt = () => existsSync(join(projectRoot, product)) && isBuiltFrom(stamp, inputs());

/** The folder whose include/node holds the headers of this very Node, if there is one. */
function headersFolder() {
  const prefix = dirname(dirname(realpathSync(process.execPath)));
  const version = join(prefix, 'include/node/node_version.h');
  if (!existsSync(version)) return undefined;
  const text = readFileSync(version, 'utf8');
  const number = (/** @type {string} */ part) => new RegExp(`#define NODE_${part}_VERSION (\\d+)`).exec(text)?.[1];
  return `v${number('MAJOR')}.${number('MINOR')}.${number('PATCH')}` === process.version ? prefix : undefined;
}

/** Builds the addon; throws with the compiler's words when that fails. */
export function buildNative() {
  const hash = inputs(); // before the build: what changes meanwhile is built next time
  const headers = headersFolder();
  const gyp = join(projectRoot, 'node_modules/node-gyp/bin/node-gyp.js');
  const args = [gyp, 'configure', 'build', '--silent', '--jobs=max', ...(headers ? [`--nodedir=${headers}`] : [])];
  const { status, error, stdout, stderr } = spawnSync(process.execPath, args, {
    cwd: projectRoot,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0) {
    const words = error ? error.message : `${stdout}${stderr}`.trim();
    throw new Error(`the native addon could not be built (it needs python3, make and g++):\n${words}`);
  }
  markBuiltFrom(stamp, hash);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (process.argv.includes('--force') || !nativeIsBuilt()) buildNative();
  } catch (error) {
    console.error(`build-native: ${error.message}`);
    process.exitCode = 1;
  }
}
