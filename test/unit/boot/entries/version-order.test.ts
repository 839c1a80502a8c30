/** Kernel versions, compared with dpkg. */
import { spawnSync } from 'node:child_process';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareVersions } from '../../../../src/boot/entries/version-order.js';

test('versions of kernels as distributions name them, oldest first', () => {
  const ordered = [
    '0-rescue-1b9f0a6c',
    '5.10.0-28-amd64',
    '6.1.0-9-amd64',
    '6.1.0-13-amd64',
    '6.1.0-13-cloud-amd64',
    '6.2.9-300.fc38.x86_64',
    '6.8.0-31-generic',
    '6.8.0-35-generic',
    '6.12~rc3-amd64',
    '6.12-rc5-amd64',
    '6.12-amd64',
    '6.12.1-amd64',
    '10.0-amd64',
  ];
  expect([...ordered].reverse().sort(compareVersions)).toEqual(ordered);
});

test('leading zeros and numbers of any length', () => {
  expect(compareVersions('1.007', '1.7')).toBe(0);
  expect(compareVersions(`1.${'9'.repeat(400)}`, `1.1${'0'.repeat(400)}`)).toBeLessThan(0);
});

const dpkg = spawnSync('dpkg', ['--version'], { stdio: 'ignore' }).status === 0;
if (!dpkg) console.warn('skipped: dpkg is not installed');

describe.skipIf(!dpkg)('dpkg', () => {
  test('agrees', () => {
    const version = fc.array(fc.constantFrom('0', '1', '9', '10', '.', '~', '+', 'a', 'b', 'Z'), {
      minLength: 1,
      maxLength: 8,
    });
    const pairs = fc.sample(fc.tuple(version, version), { numRuns: 150, seed: 5 });
    for (const [a, b] of pairs.map(([x, y]) => [`1${x.join('')}`, `1${y.join('')}`] as const)) {
      const relation = compareVersions(a, b) < 0 ? 'lt' : compareVersions(a, b) > 0 ? 'gt' : 'eq';
      // The `-0` keeps dpkg from splitting off a revision.
      const { status } = spawnSync('dpkg', ['--compare-versions', `${a}-0`, relation, `${b}-0`]);
      expect({ a, b, relation, status }).toEqual({ a, b, relation, status: 0 });
    }
  });
});

test('the order is one: antisymmetric, and equal to itself', () => {
  const version = fc.string({ unit: fc.constantFrom(...'0129.-~rcab+'), maxLength: 12 });
  fc.assert(
    fc.property(version, version, (a, b) => {
      expect(Math.sign(compareVersions(a, b))).toBe(-Math.sign(compareVersions(b, a)) || 0);
      expect(compareVersions(a, a)).toBe(0);
    }),
  );
});
