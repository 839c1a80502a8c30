/**
 * `npm test`: makes the checkout ready, checks it (types, style, import direction) and runs the tests.
 *
 *   npm test [-- [--full] [--record] [VITEST ARGUMENT...]]      such as: npm test -- --project unit test/unit/cli
 *
 * `--full` (npm run test:full) runs the full products of the lab tests; `--record` writes what came out into
 * docs/full-run.md. The last line is `N passed, N failed, N skipped`.
 */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { bootstrap, runScript } from './bootstrap.js';
import { projectRoot } from './inputs.js';
import { recordRun } from './test-record.js';

const bin = (/** @type {string} */ path) => join(projectRoot, 'node_modules', path);
const checks = /** @type {const} */ ([
  ['types', bin('typescript/bin/tsc'), '--noEmit', '-p', 'test'],
  ['style', bin('@biomejs/biome/bin/biome'), 'check', '.'],
  ['import direction', join(projectRoot, 'scripts/check-imports.js')],
  ['files', join(projectRoot, 'scripts/check-files.js')],
]);

/**
 * Runs a script of Node's and answers its exit code and, unless it writes to our own streams, what it wrote.
 *
 * @param {readonly string[]} command
 * @param {{ quiet?: boolean, env?: Record<string, string> }} [options]
 * @returns {Promise<{ code: number, output: string }>}
 */
function node(command, { quiet = false, env = {} } = {}) {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, command, {
      cwd: projectRoot,
      stdio: ['ignore', quiet ? 'pipe' : 'inherit', quiet ? 'pipe' : 'inherit'],
      env: { ...process.env, ...env },
    });
    let output = '';
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk) => {
        output += chunk;
      });
    child.once('error', reject);
    child.once('close', (code) => resolve({ code: code ?? 1, output }));
  });
}

/** @returns {Promise<boolean>} */
async function check() {
  const results = await Promise.all(
    checks.map(async ([name, ...command]) => ({ name, ...(await node(command, { quiet: true })) })),
  );
  for (const { name, code, output } of results) {
    if (code === 0) console.log(`check: ${name}: ok`);
    else console.log(`check: ${name}: FAILED\n${output.trim()}`);
  }
  return results.every(({ code }) => code === 0);
}

/** @param {readonly string[]} args vitest's @param {{ full: boolean, record: boolean, checked: boolean }} options @returns {Promise<number>} */
async function runTests(args, { full, record, checked }) {
  const summaryFile = join(projectRoot, '.cache/test-summary.json');
  mkdirSync(join(projectRoot, '.cache'), { recursive: true });
  rmSync(summaryFile, { force: true });
  const reporters = ['--reporter=default', `--reporter=${join(projectRoot, 'scripts/test-reporter.js')}`];
  const { code } = await node([bin('vitest/vitest.mjs'), 'run', ...reporters, ...args], {
    env: { TSVMM_TEST_SUMMARY: summaryFile, ...(full && { TSVMM_TEST_FULL: '1' }) },
  });
  if (!existsSync(summaryFile)) throw new Error(`vitest ended with code ${code} and without a result`);
  const { counts, skips, tests } = JSON.parse(readFileSync(summaryFile, 'utf8'));
  if (record) recordRun(['npm run', full ? 'test:full' : 'test', '--', ...args].join(' '), { counts, skips, tests });
  if (!checked) console.log('a check failed before the tests, see above');
  if (skips.length > 0) console.log('skipped:');
  for (const { project, file, test, note } of skips)
    console.log(`  ${project} ${file}: ${test}${note ? ` (${note})` : ''}`);
  console.log(`${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped`);
  return code !== 0 || counts.failed === 0 ? code : 1;
}

await runScript(async () => {
  const args = process.argv.slice(2);
  await bootstrap({ packages: ['guests', 'demo'], oracles: true, why: 'run the tests' });
  const { buildGuests } = await import('./build-guests.js');
  await buildGuests();
  const checked = await check();
  const code = await runTests(
    args.filter((arg) => arg !== '--full' && arg !== '--record'),
    { full: args.includes('--full'), record: args.includes('--record'), checked },
  );
  return checked ? code : code || 1;
});
