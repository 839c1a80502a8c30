/**
 * docs/full-run.md: what a run of the tests came to, on which commit and where, written by `npm run test:full -- --record`.
 *
 * The tests of the lab are listed one by one; of the others, which are in every run, only how many there were.
 */
import { execFileSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { availableParallelism, release } from 'node:os';
import { join } from 'node:path';
import { projectRoot } from './inputs.js';

/** @typedef {{ project: string, file: string, test: string, state: string, seconds: number }} Test */
/** @typedef {{ counts: { passed: number, failed: number, skipped: number }, skips: { file: string, test: string, note?: string }[], tests: Test[] }} Summary */

/** @param {string[]} args */
const git = (...args) => execFileSync('git', args, { cwd: projectRoot, encoding: 'utf8' }).trim();

/** @param {string} text inside a table */
const cell = (text) => text.replaceAll('|', '\\|');

/** @param {string} command @param {Summary} summary */
export function recordRun(command, { counts, skips, tests }) {
  const changed = git('status', '--porcelain') === '' ? '' : ', with changes';
  const lab = tests.filter(({ project }) => project === 'lab');
  const others = [...new Set(tests.map(({ project }) => project))].filter((project) => project !== 'lab');
  const lines = [
    '# The last full run',
    '',
    `\`${command}\` on ${new Date().toISOString().slice(0, 10)}, commit \`${git('rev-parse', '--short=12', 'HEAD')}\`${changed}:`,
    `**${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped.**`,
    `Node ${process.versions.node}, Linux ${release()}, ${availableParallelism()} processors.`,
    '',
    ...others.map((project) => `- ${project}: ${tests.filter((test) => test.project === project).length} tests`),
    `- lab: ${lab.length} tests`,
    '',
    '| test in the lab | result | seconds |',
    '|---|---|---|',
    ...lab.map(
      ({ file, test, state, seconds }) =>
        `| ${file.replace('test/lab/', '')}: ${cell(test)} | ${state} | ${Math.round(seconds)} |`,
    ),
    ...(skips.length === 0 ? [] : ['', 'Skipped:', '']),
    ...skips.map(({ file, test, note }) => `- ${file}: ${test}${note === undefined ? '' : ` (${note})`}`),
    '',
  ];
  writeFileSync(join(projectRoot, 'docs/full-run.md'), lines.join('\n'));
}
