/** `vmTest` with a Linux: its tests, which lie in inside/, run in the lab, where stock kernels boot. */
import { expect, test } from 'vitest';
import { openLab } from './support/lab.js';

/** Seconds: vitest itself takes half a minute in emulation. */
const timeout = 800;

test('tests that have forks of Linux pass, each with one of its own', async () => {
  await using lab = await openLab({ disks: false, packages: ['vitest'] });
  const command = ['node', 'node_modules/vitest/vitest.mjs', 'run', '--root', 'test/lab/inside', '--reporter', 'json'];
  const { stdout, stderr, exitCode } = await lab.exec(command, { timeout });
  expect({ exitCode, stderr: stderr.slice(-4000), stdout: exitCode === 0 ? '' : stdout.slice(-4000) }).toEqual({
    exitCode: 0,
    stderr: '',
    stdout: '',
  });
  const results = JSON.parse(stdout) as { numPassedTests: number; numTotalTests: number };
  expect(results.numTotalTests).toBeGreaterThanOrEqual(5);
  expect(results.numPassedTests).toBe(results.numTotalTests);
});
