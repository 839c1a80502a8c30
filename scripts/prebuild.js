/**
 * Makes the addons that the package carries, prebuilds/linux-ARCH.node: this machine's own, and the other architecture's by
 * Debian's cross compiler. Each loads beside glibc and beside musl (docs/decisions/0008).
 *
 *   node scripts/prebuild.js [x64] [arm64]
 */
import { spawnSync } from 'node:child_process';
import { cpSync, existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { buildNative, inputs, nativeIsBuilt, runGyp } from './build-native.js';
import { isBuiltFrom, markBuiltFrom, projectRoot } from './inputs.js';
import { findProgram } from './lab/tools.js';

/** What an architecture's GNU tools begin with. */
const tools = /** @type {const} */ ({ x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' });
/** @typedef {keyof typeof tools} Architecture */
export const architectures = /** @type {Architecture[]} */ (Object.keys(tools));

/** Whether the addon of that architecture can be made here. @param {Architecture} arch */
export const canBuild = (arch) => arch === process.arch || findProgram(`${tools[arch]}-g++`) !== undefined;

const prebuildOf = (/** @type {string} */ arch) => join(projectRoot, `prebuilds/linux-${arch}.node`);

/** @param {Architecture} arch @param {string} folder where to build what is not this machine's @returns {string} the addon */
function build(arch, folder) {
  if (arch === process.arch) {
    if (!nativeIsBuilt()) buildNative();
    return join(projectRoot, 'build/Release/tsvmm.node');
  }
  for (const name of ['binding.gyp', 'native'])
    cpSync(join(projectRoot, name), join(folder, name), { recursive: true });
  const tool = (/** @type {string} */ name) => `${tools[arch]}-${name}`;
  runGyp(folder, { arch, env: { CC: tool('gcc'), CXX: tool('g++'), LINK: tool('g++'), AR: tool('ar') } });
  return join(folder, 'build/Release/tsvmm.node');
}

/** Makes those that are out of date. @param {readonly Architecture[]} [wanted] */
export function prebuild(wanted = architectures) {
  for (const arch of wanted) {
    const stamp = `.cache/prebuild/${arch}.inputs`;
    const hash = inputs(arch);
    if (existsSync(prebuildOf(arch)) && isBuiltFrom(stamp, hash)) continue;
    if (!canBuild(arch)) throw new Error(`there is no ${tools[arch]}-g++, the compiler for ${arch}`);
    mkdirSync(join(projectRoot, 'prebuilds'), { recursive: true });
    mkdirSync(join(projectRoot, '.cache/prebuild'), { recursive: true });
    const scratch = mkdtempSync(join(projectRoot, '.cache/prebuild', `${arch}-`)); // two may build at once
    try {
      const fresh = join(scratch, 'stripped.node');
      const strip = findProgram(`${tools[arch]}-strip`) ?? 'strip';
      const args = ['--strip-unneeded', '-o', fresh, build(arch, scratch)];
      const { status, error, stderr } = spawnSync(strip, args, { encoding: 'utf8' });
      if (status !== 0) throw new Error(`${strip}: ${error?.message ?? stderr.trim()}`);
      renameSync(fresh, prebuildOf(arch));
    } finally {
      rmSync(scratch, { recursive: true });
    }
    markBuiltFrom(stamp, hash);
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    const named = architectures.filter((arch) => process.argv.includes(arch));
    prebuild(named.length > 0 ? named : architectures);
  } catch (error) {
    console.error(`prebuild: ${error.message}`);
    process.exitCode = 1;
  }
}
