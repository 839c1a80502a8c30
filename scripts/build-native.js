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
export function inputs(arch = process.arch) {
  const headers = join(projectRoot, 'node_modules/node-addon-api/package.json');
  return hashOf(['native', 'binding.gyp'], [arch, JSON.parse(readFileSync(headers, 'utf8')).version]);
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

/**
 * Runs node-gyp in `folder`, which holds binding.gyp and native/; throws with the compiler's words when that fails.
 *
 * @param {string} folder @param {{ arch?: string, env?: Record<string, string> }} [cross] for another architecture than this one
 */
export function runGyp(folder, { arch = process.arch, env = {} } = {}) {
  const headers = headersFolder();
  const gyp = join(projectRoot, 'node_modules/node-gyp/bin/node-gyp.js');
  const options = ['--silent', '--jobs=max', `--arch=${arch}`, ...(headers ? [`--nodedir=${headers}`] : [])];
  const { status, error, stdout, stderr } = spawnSync(process.execPath, [gyp, 'configure', 'build', ...options], {
    cwd: folder,
    env: { ...process.env, ...env },
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status === 0) return;
  const words = error ? error.message : `${stdout}${stderr}`.trim();
  throw new Error(`the native addon could not be built (it needs python3, make and g++):\n${words}`);
}

export function buildNative() {
  const hash = inputs(); // before the build: what changes meanwhile is built next time
  runGyp(projectRoot);
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
