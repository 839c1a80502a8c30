/**
 * Bundles a worker's entry point for a test: Node cannot run TypeScript in a worker, and the product's workers are
 * bundles too. The file lands inside the package, where the addon is found.
 */
import { randomBytes } from 'node:crypto';
import { rmSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath, pathToFileURL } from 'node:url';
import { build } from 'esbuild';

const root = join(dirname(fileURLToPath(import.meta.url)), '../../..');

export interface Bundle {
  readonly url: URL;
  remove(): void;
}

/** `entry` is relative to the package. */
export async function bundle(entry: string): Promise<Bundle> {
  const outfile = join(root, '.cache/test', `${randomBytes(6).toString('hex')}.js`);
  await build({
    entryPoints: [join(root, entry)],
    outfile,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node20',
    logLevel: 'silent',
    banner: { js: 'const keepCode = () => {}; const handed = (url) => import(url);' }, // what host/start-bundle.ts hands a program
    // .cache has no package.json of its own: the nearest is the package's, which says "module"
  });
  return { url: pathToFileURL(outfile), remove: () => rmSync(outfile, { force: true }) };
}
