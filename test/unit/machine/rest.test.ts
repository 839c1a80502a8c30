import { spawnSync } from 'node:child_process';
import { expect, test } from 'vitest';
import { Rest } from '../../../src/machine/rest.js';

test('it lasts as long as it was told to', async () => {
  const started = performance.now();
  await new Rest().wait(30, true);
  expect(performance.now() - started).toBeGreaterThanOrEqual(28);
});

test('it is cut short, once or more, before or after', async () => {
  const rest = new Rest();
  rest.cut();
  const waiting = rest.wait(1_000_000, true);
  rest.cut();
  rest.cut();
  await waiting;
});

test.each([
  ['unref() while it lasts lets the program end', 'const r = new Rest(); r.wait(1e6, true); r.unref();'],
  ['a machine that is not referenced does not hold the program', 'new Rest().wait(1e6, false);'],
])('%s', (_name, body) => {
  // The class has no imports: its text is a program once its types are gone.
  const program = `${Rest.toString().replace(/^class \w+/, 'class Rest')}\n${body}`;
  const { status } = spawnSync(process.execPath, ['-e', program], { timeout: 20_000 });
  expect(status).toBe(0);
});
