/**
 * What systemd 252 and rpm 4.18 said, recorded once so that it is compared on machines without them: `systemd-analyze
 * compare-versions`, `rpm.vercmp` of rpm's Lua, and `bootctl list` over trees of files.
 */
import { readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compareRpmNames, compareRpmVersions } from '../../../../src/boot/bls/rpm-version.js';
import { compareUapiVersions } from '../../../../src/boot/bls/uapi-version.js';
import { findEntries } from '../../../../src/boot/entries/find-entries.js';
import { memoryVolume } from '../grub/memory-file-system.js';
import { systemdBoot } from '../pe/build-pe.js';

type Pair = readonly [a: string, b: string, order: number];
interface Menu {
  readonly files: Readonly<Record<string, string>>;
  /** Files of the entries, in order. */
  readonly menu: readonly string[];
  readonly default: number | null;
}

const fixture = (name: string): unknown =>
  JSON.parse(readFileSync(new URL(`fixtures/${name}`, import.meta.url), 'utf8'));
const versions = fixture('versions.json') as { systemdAnalyze: Pair[]; rpm: Pair[] };
const menus = fixture('bootctl.json') as Menu[];

describe.each([
  ['systemd-analyze compare-versions', versions.systemdAnalyze, compareUapiVersions],
  ['rpm.vercmp', versions.rpm, compareRpmVersions],
] as const)('%s', (_, pairs, compare) => {
  test('agrees', () => {
    expect(pairs.length).toBeGreaterThan(100);
    const differences = pairs.filter(([a, b, order]) => compare(a, b) !== order || compare(b, a) !== (-order || 0));
    expect(differences).toEqual([]);
  });

  test('any two strings have an order, and the opposite one the other way round', () => {
    const version = fc.oneof(fc.string(), fc.stringMatching(/^[0-9a-z.~^+_-]{0,20}$/));
    fc.assert(
      fc.property(version, version, (a, b) => {
        expect(compare(a, a)).toBe(0);
        expect(compare(a, b)).toBe(-compare(b, a) || 0);
      }),
    );
  });

  test('long strings cost little', () => {
    const long = '1.a~'.repeat(50_000);
    expect(compare(`${long}1`, `${long}2`)).toBe(-1);
  });
});

test('names are compared by name, version and release', () => {
  const machine = '6a9857a393724b7a981ebb5b8495b9ea';
  expect(compareRpmNames(`${machine}-6.2.9-300.fc38.x86_64`, `${machine}-6.10.3-200.fc38.x86_64`)).toBe(-1);
  expect(compareRpmNames('a-1-2', 'a-1')).toBe(1);
  expect(compareRpmNames('a', 'b-1-1')).toBe(-1);
  expect(compareRpmNames('k-1-1+debug', 'k-1-1')).toBe(1);
});

test.each(menus.map((menu, index) => [index, menu] as const))('bootctl list, tree %i', async (_, recorded) => {
  const esp = memoryVolume(
    1,
    { ...recorded.files, '/k': 'k', '/EFI/BOOT/BOOTX64.EFI': systemdBoot },
    { type: 'fat32', partitionType: 'c12a7328-f81f-11d2-ba4b-00a0c93ec93b' },
  );
  const { entries, defaultEntry } = await findEntries([esp], []);
  const bls = entries.filter(({ kind }) => kind === 'bls');
  expect(bls.map(({ source }) => source.path)).toEqual(recorded.menu);
  if (recorded.default !== null) expect(defaultEntry).toBe(recorded.default);
});
