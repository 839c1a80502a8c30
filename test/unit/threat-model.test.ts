/** The rows of docs/threat-model.md: each that applies has a test whose name begins with it. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from 'vitest';

const root = join(import.meta.dirname, '../..');

function namesOfTests(): Set<string> {
  const rows = new Set<string>();
  const tests = join(import.meta.dirname, '..');
  const files = readdirSync(tests, { recursive: true, encoding: 'utf8' });
  for (const file of files.filter((name) => name.endsWith('.test.ts'))) {
    const text = readFileSync(join(tests, file), 'utf8');
    for (const [, row] of text.matchAll(/["'`](T\d+): /g)) rows.add(row!);
  }
  return rows;
}

test('every row that applies is a test', () => {
  const page = readFileSync(join(root, 'docs/threat-model.md'), 'utf8');
  const rows = [...page.matchAll(/^\| (T\d+) \|[^|]+\| ([^|]+) \|$/gm)].map(([, row, answer]) => ({ row, answer }));
  expect(rows.map(({ row }) => row)).toEqual(expect.arrayContaining(['T1', 'T27', 'T34']));
  const tests = namesOfTests();
  const missing = rows.filter(({ row, answer }) => !answer!.startsWith('not applicable: ') && !tests.has(row!));
  expect(missing).toEqual([]);
});
