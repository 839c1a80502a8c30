/** `vmTest` with a Linux: its tests, which lie in inside/, run in the lab, where stock kernels boot. */
import { expect, test } from 'vitest';
import { openLab } from './support/lab.js';

/** Seconds: vitest itself takes half a minute in emulation. */
const timeout = 800;

test('tests that have forks of Linux pass, each with one of its own', async () => {
  await using lab = await openLab({ disks: false, packages: ['vitest'] });
  const command = ['node', 'node_modules/vitest/vitest.mjs', 'run', '--root', 'test/lab/inside'];
  const { stdout, stderr, exitCode } = await lab.exec(command, { timeout, env: { NO_COLOR: '1' } });
  expect(exitCode, `${stdout}\n${stderr}`).toBe(0);
  expect(stdout).toMatch(/Tests +(\d+) passed \(\1\)/);
});
