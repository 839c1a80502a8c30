/** How nice threads are: a program's own choice is kept, also where the kernel would let us change it. */
import { execFileSync } from 'node:child_process';
import { afterAll, beforeAll, expect, test } from 'vitest';
import { type Bundle, bundle } from '../support/bundle.js';

let program: Bundle;
beforeAll(async () => {
  program = await bundle('test/unit/host/programs/raise-nice.ts');
});
afterAll(() => program.remove());

test.each([
  [0, 5],
  [5, 5],
  [15, 15],
])('a thread of nice %i that is to be 5 is %i', (before, after) => {
  const args = ['-n', String(before), process.execPath, new URL(program.url).pathname, '5'];
  const own = Number(execFileSync('nice', { encoding: 'utf8' }));
  const output = execFileSync('nice', args, { encoding: 'utf8' });
  expect(Number(output)).toBe(Math.min(19, Math.max(after, own + before)));
});
