/**
 * Builds dist/: the library, the command line program and one self-contained file per worker as bundles by esbuild, and
 * the declarations by tsc.
 *
 *   node scripts/build.js [--force] [--no-types]
 *
 * A worker's file may import nothing but Node's own modules, and dist/cli.js no package before it is needed: both are
 * checked here, as a slip costs every start some tens of milliseconds and nobody would see it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { hashOf, isBuiltFrom, markBuiltFrom, projectRoot } from './inputs.js';

const dist = join(projectRoot, 'dist');
const stamp = 'dist/.inputs';

/** What must be there; other workers and helpers of src/threads are found. */
const required = {
  index: 'src/index.ts',
  cli: 'src/cli/main.ts',
  'vcpu-worker': 'src/threads/vcpu-worker.ts',
  'io-worker': 'src/threads/io-worker.ts',
};

const inputs = () =>
  hashOf(
    ['src', 'tsconfig.json', 'scripts/build.js'],
    ['esbuild', 'typescript'].map(
      (name) => JSON.parse(readFileSync(join(projectRoot, 'node_modules', name, 'package.json'), 'utf8')).version,
    ),
  );

export const distIsBuilt = () => isBuiltFrom(stamp, inputs());

/** @returns {Record<string, string>} output name to source */
function entryPoints() {
  const threads = join(projectRoot, 'src/threads');
  const found = existsSync(threads) ? readdirSync(threads).filter((name) => /-(worker|helper)\.ts$/.test(name)) : [];
  const entries = {
    ...required,
    ...Object.fromEntries(found.map((name) => [basename(name, '.ts'), `src/threads/${name}`])),
  };
  const missing = Object.values(entries).filter((file) => !existsSync(join(projectRoot, file)));
  if (missing.length > 0) throw new Error(`nothing to build from: ${missing.join(', ')} does not exist`);
  return entries;
}

/** @param {import('esbuild').Metafile} metafile @returns {string[]} what a bundle may not do */
function offences(metafile) {
  const found = [];
  for (const [output, { imports }] of Object.entries(metafile.outputs)) {
    for (const { path, kind, external } of imports) {
      if (!external || path.startsWith('node:')) continue;
      if (/-(worker|helper)\.cjs$/.test(output))
        found.push(`${output} imports ${path}: a worker imports only node: modules`);
      else if (kind !== 'dynamic-import')
        found.push(`${output} imports ${path} at its start: import it where it is needed`);
    }
  }
  return found;
}

/** The library and the command share their code in chunks, and load what they need when they need it. */
const shared = ['index', 'cli'];

async function bundle() {
  const { build } = await import('esbuild');
  const entries = Object.entries(entryPoints());
  const of = (/** @type {boolean} */ together) =>
    Object.fromEntries(entries.filter(([name]) => shared.includes(name) === together));
  const options = /** @type {const} */ ({
    absWorkingDir: projectRoot,
    outdir: dist,
    bundle: true,
    platform: 'node',
    target: 'node20.19',
    packages: 'external',
    // Names stay: they are in stack traces. White space only costs time to read.
    minifyWhitespace: true,
    minifySyntax: true,
    sourcemap: true,
    legalComments: 'none',
    logLevel: 'warning',
    metafile: true,
    write: false,
  });
  const results = await Promise.all([
    build(/** @type {const} */ ({ ...options, entryPoints: of(true), format: 'esm', splitting: true })),
    // CommonJS: a worker with an ES module takes some 12 ms longer to start.
    build(
      /** @type {const} */ ({
        ...options,
        entryPoints: of(false),
        format: 'cjs',
        outExtension: { '.js': '.cjs' },
        define: { 'import.meta.url': 'moduleUrl' },
        banner: { js: 'const moduleUrl=require("node:url").pathToFileURL(__filename).href;' },
      }),
    ),
  ]);
  const outputFiles = results.flatMap((result) => result.outputFiles);
  const wrong = results.flatMap(({ metafile }) => offences(metafile));
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
  mkdirSync(dist, { recursive: true });
  // By rename: a program that runs from dist meanwhile reads the old file or the new one, never half of one.
  for (const { path, contents } of outputFiles) {
    writeFileSync(`${path}.${process.pid}.tmp`, contents);
    renameSync(`${path}.${process.pid}.tmp`, path);
  }
  const current = new Set(outputFiles.map(({ path }) => basename(path)));
  for (const name of readdirSync(dist))
    if (/\.c?js(\.map)?$/.test(name) && !current.has(name)) rmSync(join(dist, name));
}

/** Replaces dist/types when tsc is content: whoever reads it meanwhile sees the old declarations, not none. */
function declarations() {
  const types = join(dist, 'types');
  const fresh = `${types}.${process.pid}.tmp`;
  const tsc = join(projectRoot, 'node_modules/typescript/bin/tsc');
  const { status, stdout, stderr } = spawnSync(process.execPath, [tsc, '-p', 'tsconfig.json', '--outDir', fresh], {
    cwd: projectRoot,
    encoding: 'utf8',
    maxBuffer: 64 << 20,
  });
  if (status !== 0) {
    rmSync(fresh, { recursive: true, force: true });
    throw new Error(`type check failed:\n${stdout}${stderr}`.trim());
  }
  rmSync(types, { recursive: true, force: true });
  renameSync(fresh, types);
}

/** @param {{ types?: boolean }} [options] */
export async function buildDist({ types = true } = {}) {
  const hash = inputs(); // before the build: what changes meanwhile is built next time
  rmSync(join(projectRoot, stamp), { force: true });
  await bundle();
  if (!types) return;
  declarations();
  markBuiltFrom(stamp, hash);
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  try {
    if (process.argv.includes('--force') || !distIsBuilt())
      await buildDist({ types: !process.argv.includes('--no-types') });
  } catch (error) {
    console.error(`build: ${error.message}`);
    process.exitCode = 1;
  }
}
