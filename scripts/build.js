/**
 * Builds dist/: the library as ES modules, the command and the workers as one self-contained file each, with what V8
 * compiled of these (compile-ahead.js), by esbuild; the declarations by tsc.
 *
 *   node scripts/build.js [--force] [--no-types]
 *
 * A worker's file may import nothing but Node's own modules, which is checked here: a slip costs every start some tens of
 * milliseconds and nobody would see it.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { codeHash, compileAhead } from './compile-ahead.js';
import { hashOf, isBuiltFrom, markBuiltFrom, projectRoot, replaceFile } from './inputs.js';

const dist = join(projectRoot, 'dist');
const stamp = 'dist/.inputs';

/** What must be there; other workers and helpers of src/threads are found. */
const required = {
  cli: 'src/cli/main.ts',
  'vcpu-worker': 'src/threads/vcpu-worker.ts',
  'io-worker': 'src/threads/io-worker.ts',
  'disk-worker': 'src/threads/disk-worker.ts',
};

const inputs = () =>
  hashOf(
    ['src', 'tsconfig.json', 'scripts/build.js'],
    ['esbuild', 'typescript'].map(
      (name) => JSON.parse(readFileSync(join(projectRoot, 'node_modules', name, 'package.json'), 'utf8')).version,
    ),
  );

export const distIsBuilt = () => isBuiltFrom(stamp, inputs());

/** @returns {[name: string, source: string][]} the programs: the command, the workers and their helpers */
function programs() {
  const threads = join(projectRoot, 'src/threads');
  const found = existsSync(threads) ? readdirSync(threads).filter((name) => /-(worker|helper)\.ts$/.test(name)) : [];
  const entries = {
    ...required,
    ...Object.fromEntries(found.map((name) => [basename(name, '.ts'), `src/threads/${name}`])),
  };
  const missing = Object.values(entries).filter((file) => !existsSync(join(projectRoot, file)));
  if (missing.length > 0) throw new Error(`nothing to build from: ${missing.join(', ')} does not exist`);
  return Object.entries(entries);
}

/** @param {import('esbuild').Metafile} metafile @returns {string[]} what a worker may not import */
function offences({ outputs }) {
  return Object.entries(outputs)
    .filter(([output]) => /-(worker|helper)\.js$/.test(output))
    .flatMap(([output, { imports }]) =>
      imports
        .filter(({ path, external }) => external && !path.startsWith('node:'))
        .map(({ path }) => `${output} imports ${path}: a worker imports only node: modules`),
    );
}

const options = /** @type {const} */ ({
  absWorkingDir: projectRoot,
  bundle: true,
  platform: 'node',
  target: 'node20.19',
  packages: 'external',
  // Names stay: they are in stack traces. White space only costs time to read, but for line ends: with an error that nobody
  // catches Node prints the line that threw it.
  minifyWhitespace: true,
  lineLimit: 160,
  minifySyntax: true,
  legalComments: 'none',
  logLevel: 'warning',
  metafile: true,
  write: false,
});

/** For stack traces with --enable-source-maps, in a checkout: the package has neither these nor src/. */
const maps = /** @type {const} */ ({ sourcemap: true, sourcesContent: false });

/** The library, in chunks that are loaded when they are needed. */
const library = /** @type {import('esbuild').BuildOptions} */ ({
  ...options,
  entryPoints: { index: 'src/index.ts' },
  outdir: dist,
  format: 'esm',
  splitting: true,
  ...maps,
});

/** What the library has for tests: beside it, since one build of both would cut the library into more files to load. */
const testing = /** @type {import('esbuild').BuildOptions} */ ({
  ...options,
  entryPoints: { testing: 'src/testing/index.ts' },
  outdir: dist,
  format: 'esm',
  ...maps,
  plugins: [
    {
      name: 'library beside it',
      setup: (build) =>
        build.onResolve({ filter: /^\.\.\/index\.js$/ }, () => ({ path: './index.js', external: true })),
    },
  ],
});

/** A program's code, as src/host/start-bundle.ts calls it. */
const code = /** @type {import('esbuild').BuildOptions} */ ({
  ...options,
  outdir: join(dist, 'code'),
  format: 'cjs',
  ...maps,
  supported: { 'dynamic-import': false }, // require() instead: a script of node:vm has no import()
  define: { 'import.meta.url': 'moduleUrl' },
  banner: {
    js: '(function(require,__filename,handed,keepCode){"use strict";const moduleUrl=require("node:url").pathToFileURL(__filename).href;const module={exports:{}};',
  },
  footer: { js: '})' },
});

/** What starts a program's code. @param {string} name @returns {import('esbuild').BuildOptions} */
const starter = (name) => ({
  ...options,
  ...(name === 'cli'
    ? { entryPoints: ['src/cli/start.ts'] }
    : {
        stdin: {
          contents: `import { startBundle } from './start-bundle.js'; startBundle('${name}', require, __filename, { cache: process.argv[2] || undefined${name === 'disk-worker' ? ', handed: (url) => import(url)' : ''} });`,
          resolveDir: join(projectRoot, 'src/host'),
        },
      }),
  outfile: join(dist, `${name}.cjs`),
  format: 'cjs',
});

async function bundle() {
  const { build } = await import('esbuild');
  const entries = programs();
  const results = await Promise.all([
    build(library),
    build(testing),
    build({ ...code, entryPoints: Object.fromEntries(entries) }),
    ...entries.map(([name]) => build(starter(name))),
  ]);
  const wrong = results.flatMap(({ metafile }) => offences(/** @type {import('esbuild').Metafile} */ (metafile)));
  if (wrong.length > 0) throw new Error(wrong.join('\n'));
  const outputs = results.flatMap(({ outputFiles = [] }) =>
    outputFiles.map(({ path, text }) => ({
      path,
      text: dirname(path) !== dist && path.endsWith('.js') ? text + codeHash(text) : text,
    })),
  );
  // By rename: a program that runs from dist meanwhile reads the old file or the new one, never half of one.
  mkdirSync(join(dist, 'code'), { recursive: true });
  for (const { path, text } of outputs) replaceFile(path, text);
  const current = new Set(outputs.map(({ path }) => path));
  for (const folder of [dist, join(dist, 'code')])
    for (const path of readdirSync(folder).map((name) => join(folder, name)))
      if (/\.c?js(\.map)?$/.test(path) && !current.has(path)) rmSync(path);
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
  keepReachable(fresh, ['index.d.ts', 'testing/index.d.ts']);
  rmSync(types, { recursive: true, force: true });
  renameSync(fresh, types);
}

/** Removes the declarations that nobody who begins at `entries` comes to. @param {string} folder @param {string[]} entries */
function keepReachable(folder, entries) {
  const reached = new Set(entries.map((entry) => join(folder, entry)));
  for (const path of reached)
    for (const [, target] of readFileSync(path, 'utf8').matchAll(
      /(?:from |import |import\()['"](\.{1,2}\/[^'"]+)\.js['"]/g,
    ))
      reached.add(join(dirname(path), `${target}.d.ts`));
  for (const entry of readdirSync(folder, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile() && !reached.has(path)) rmSync(path);
  }
}

/** @param {{ types?: boolean }} [options] */
export async function buildDist({ types = true } = {}) {
  const hash = inputs(); // before the build: what changes meanwhile is built next time
  rmSync(join(projectRoot, stamp), { force: true });
  await bundle();
  await compileAhead();
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
