/** Comes after leaves.test.js, in its process. */
import { execFileSync } from 'node:child_process';
import { expect, test } from 'vitest';

test('finds nothing', () => {
  expect(globalThis.machinesWere).toBe(2);
  const held = execFileSync('ls', ['-l', `/proc/${process.pid}/fd`], { encoding: 'latin1' });
  expect(held).not.toContain('kvm-vm');
});
