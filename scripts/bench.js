/**
 * `npm run bench -- [NAME[:CASE]...] [--json]`: runs the benchmarks of bench/, all or those named, and of one with CASE
 * only the cases of that name, where * stands for any text: `block:randread-*`.
 *
 * With --json a line for each case on stdout, and nothing else there; else a table. What a benchmark is: bench/harness.ts.
 */
import { mkdirSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { BootstrapError, bootstrap, runScript } from './bootstrap.js';
import { projectRoot } from './inputs.js';

const folder = join(projectRoot, 'bench');
const bundles = join(projectRoot, '.cache/bench');

/** Files of bench/ that are benchmarks: NAME.ts, helpers being in folders or named in `notBenches`. */
const notBenches = new Set(['harness']);
const names = readdirSync(folder)
  .filter((file) => file.endsWith('.ts') && !notBenches.has(basename(file, '.ts')))
  .map((file) => basename(file, '.ts'))
  .sort();

/** The lab finds its files beside its modules: it is imported from where it is. @type {import('esbuild').Plugin} */
const scriptsInPlace = {
  name: 'scripts in place',
  setup: (build) =>
    build.onResolve({ filter: /^\.\.\/scripts\// }, ({ path }) => ({
      path: pathToFileURL(join(folder, path)).href,
      external: true,
    })),
};

/** Bundles TypeScript of bench/ and imports it; what it needs of the product it imports as `tsvmm`, from dist. @param {string} name */
async function load(name) {
  const { build } = await import('esbuild');
  mkdirSync(bundles, { recursive: true });
  const outfile = join(bundles, `${name}.mjs`);
  await build({
    entryPoints: [join(folder, `${name}.ts`)],
    outfile,
    bundle: true,
    format: 'esm',
    platform: 'node',
    target: 'node20.19',
    packages: 'external',
    plugins: [scriptsInPlace],
    sourcemap: 'inline',
    logLevel: 'warning',
  });
  return import(pathToFileURL(outfile).href);
}

/** Whether a case's name is the one asked for. @param {string} asked @param {string} name */
function isAsked(asked, name) {
  const parts = asked.split('*').map((part) => part.replaceAll(/[^\w-]/g, '\\$&'));
  return new RegExp(`^${parts.join('.*')}$`).test(name);
}

const figure = (/** @type {number} */ value) =>
  value >= 100 ? value.toFixed(0) : value >= 10 ? value.toFixed(1) : value.toFixed(3);

/** @param {import('../bench/harness.js').Result} result */
function row({ bench, case: name, unit, ours, peer, theirs, ratio, interval }) {
  const label = `${bench} ${name}`.padEnd(40);
  const compared =
    peer === undefined || theirs === undefined || ratio === undefined
      ? ''
      : `  ${peer} ${figure(theirs)} ${unit}  ratio ${ratio.toFixed(3)}`;
  const spread = interval === undefined ? '' : ` (${interval.map((bound) => bound.toFixed(3)).join(' to ')})`;
  return `${label} ${figure(ours).padStart(10)} ${unit}${compared}${spread}`;
}

await runScript(async () => {
  const args = process.argv.slice(2);
  const json = args.includes('--json');
  const asked = args.filter((arg) => arg !== '--json').map((arg) => arg.split(':'));
  const wanted = [...new Set(asked.map(([name]) => name ?? ''))];
  const unknown = wanted.filter((name) => !names.includes(name));
  if (unknown.length > 0)
    throw new BootstrapError(`there is no benchmark ${unknown.join(', ')}; there are: ${names.join(', ') || 'none'}`);
  await bootstrap({ packages: ['guests', 'demo'], why: 'run the benchmarks' });
  const { buildGuests } = await import('./build-guests.js');
  await buildGuests();
  const { cleanEnvironment, measureCase } = await load('harness');
  process.env = cleanEnvironment(); // for every process that a benchmark starts
  let failed = false;
  for (const name of wanted.length > 0 ? wanted : names) {
    /** @type {import('../bench/harness.js').Bench} */
    const bench = (await load(name)).bench;
    const obstacle = await bench.unavailable?.();
    if (obstacle !== undefined) {
      console.error(`bench: ${bench.name} cannot run here: ${obstacle}`);
      failed ||= wanted.includes(name);
      continue;
    }
    console.error(`bench: ${bench.name}: ${bench.summary}`);
    try {
      const cases = await bench.cases();
      const chosen = asked.filter(([of, only]) => of === name && only !== undefined);
      for (const [, only = ''] of chosen)
        if (!cases.some((subject) => isAsked(only, subject.name)))
          throw new BootstrapError(
            `${name} has no case ${only}; it has: ${cases.map((subject) => subject.name).join(', ')}`,
          );
      for (const subject of cases) {
        if (chosen.length > 0 && !chosen.some(([, only = '']) => isAsked(only, subject.name))) continue;
        const result = await measureCase(bench.name, subject);
        console.log(json ? JSON.stringify(result) : row(result));
      }
    } finally {
      await bench.close?.();
    }
  }
  return failed ? 1 : 0;
});
