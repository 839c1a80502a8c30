/**
 * What GRUB 2.06 did with random scripts and with values of `default`, recorded once so that it is compared on machines
 * without grub-emu too. With grub-emu, oracle.test.ts compares afresh.
 */
import { readFileSync } from 'node:fs';
import { expect, test } from 'vitest';
import { readMenu, runScript } from './run-script.js';

interface Recorded {
  /** Output without white space and error messages. */
  readonly scripts: readonly { readonly script: string; readonly output: string }[];
  readonly menu: string;
  /** Value of `default` to id of the entry that was booted. */
  readonly defaults: Readonly<Record<string, string>>;
}

const recorded: Recorded = JSON.parse(readFileSync(new URL('fixtures/grub-emu.json', import.meta.url), 'utf8'));

test('scripts', async () => {
  expect(recorded.scripts.length).toBeGreaterThan(30);
  for (const { script, output } of recorded.scripts) {
    const ours = (await runScript(script)).output.replace(/\s+/g, '');
    expect({ script, output: ours }).toEqual({ script, output });
  }
});

test.each(Object.entries(recorded.defaults))('default=%j boots %s', async (value, id) => {
  const { entries, defaultEntry } = await readMenu(`${recorded.menu}set default='${value}'\n`, { '/k': 'k' });
  expect(entries[defaultEntry ?? -1]?.id).toBe(id);
});
