/** The runtimes that tests start programs under: official binaries as npm carries them (test/node/packages/runtimes). */
import { join } from 'node:path';
import { npmToolsFolder } from '../../../scripts/npm-tools.js';

const folder = npmToolsFolder('runtimes');

/** Every Node that tsvmm supports, by its major version. */
export const nodes = [20, 22, 24, 26].map((version) => ({
  version,
  path: join(folder, `node${version}/bin/node`),
}));

export const bun = join(folder, '@oven/bun-linux-x64/bin/bun');
export const deno = join(folder, '@deno/linux-x64-glibc/deno');
