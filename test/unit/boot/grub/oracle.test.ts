/**
 * Our GRUB against GRUB 2.06: the grammar against `grub-script-check`, the language against `grub-emu`, the environment
 * block against `grub-editenv`. All three are Debian packages (grub-common, grub-emu).
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Budget } from '../../../../src/boot/grub/budget.js';
import { parseEnvironmentBlock } from '../../../../src/boot/grub/environment-block.js';
import { Parser } from '../../../../src/boot/grub/parser.js';
import { effort } from '../../../support/effort.js';
import { arbitraryScript, tokenSoup } from './arbitrary-script.js';
import { readMenu, runScript } from './run-script.js';

/** Whether the program runs at all; if not, its tests are skipped and this says so. */
function has(program: string, packageName: string): boolean {
  const found = spawnSync(program, ['--version'], { stdio: 'ignore' }).status === 0;
  if (!found) console.warn(`skipped: ${program} is not installed (Debian package ${packageName})`);
  return found;
}

let directory = '';
beforeAll(() => {
  directory = mkdtempSync(join(tmpdir(), 'tsvmm-grub-'));
});
afterAll(() => rmSync(directory, { recursive: true, force: true }));

function accepts(script: string): boolean {
  const parser = new Parser(script, new Budget());
  for (let statement = parser.next(); statement !== undefined; statement = parser.next()) {
    if (statement.kind === 'error') return false;
  }
  return true;
}

describe.skipIf(!has('grub-script-check', 'grub-common'))('the grammar is that of grub-script-check', () => {
  const check = (script: string): boolean => {
    const file = join(directory, 'check.cfg');
    writeFileSync(file, script);
    return spawnSync('grub-script-check', [file], { stdio: 'ignore' }).status === 0;
  };

  test('for well-formed scripts and scripts with mistakes', () => {
    for (const script of fc.sample(arbitraryScript, { numRuns: effort(30), seed: 1 })) {
      expect({ script, accepted: accepts(script) }).toEqual({ script, accepted: check(script) });
    }
  });

  test('for soups of tokens', () => {
    // The tool wants a command, reads bytes and not characters, and its lexer gives up on a lone backslash at the end.
    const scripts = fc
      .sample(tokenSoup, { numRuns: effort(120), seed: 2 })
      .map((soup) => `true\n${soup.replace(/[^\n -~]|\\$/g, '')}\n`);
    for (const script of scripts)
      expect({ script, accepted: accepts(script) }).toEqual({ script, accepted: check(script) });
    expect(scripts.filter(accepts).length).toBeGreaterThan(5);
  });
});

describe.skipIf(!has('grub-emu', 'grub-emu'))('the language is that of grub-emu', () => {
  /** What GRUB prints for `script`, without white space, colours and error messages. */
  function emulate(script: string): string {
    writeFileSync(join(directory, 'grub.cfg'), `${script}\nhalt\n`);
    const options = { input: '', timeout: 20_000, env: { ...process.env, TERM: 'dumb' }, encoding: 'utf8' } as const;
    const { stdout, status } = spawnSync('grub-emu', ['-d', directory], options);
    expect(status).toBe(0);
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the terminal's colours
    const plain = stdout.replace(/\u001b\[[0-9;]*m|\r/g, '').replace(/^Welcome to GRUB!\n/, '');
    // A message behind other output is broken where the line ends.
    const output = plain.replace(/error: can't find command\s`.*?'\.\n/gs, '').replace(/error: [^\n]*(\n|$)/g, '');
    return output.replace(/\s+/g, '');
  }

  test('for random scripts', { timeout: 120_000 }, async () => {
    for (const script of fc.sample(arbitraryScript, { numRuns: effort(30), seed: 3 })) {
      const { output } = await runScript(script);
      expect({ script, output: output.replace(/\s+/g, '') }).toEqual({ script, output: emulate(script) });
    }
  });

  test.each([
    '0',
    '1',
    '2>1',
    'b',
    'id-b',
    's>in b',
    's>1',
    'sid>id-in-b',
    's',
    's>9',
    'none',
    '',
    '5',
    '1 x',
    '0x1',
    'a>>c',
    'a>c',
    '-1',
    '007',
    '99999999999999999999',
  ])('default=%j chooses the same entry', async (value) => {
    const entry = (title: string, id: string): string =>
      `menuentry '${title}' --id '${id}' {\n echo chose ${id} $default $chosen\n halt\n}\n`;
    const menu = `${entry('a', 'id-a')}${entry('b', 'id-b')}submenu s --id sid {\n${entry('in a', 'id-in-a')}${entry('in b', 'id-in-b')}}\n${entry('a>c', 'id-c')}`;
    const choice = `set timeout=0\nset default='${value}'\n`;
    const chosen = /chose(.*)$/.exec(emulateMenu(menu + choice))?.[1];
    const ours = await readMenu(menu.replace(/echo chose .*\n.*halt/g, 'linux /k $default $chosen') + choice, {
      '/k': 'k',
    });
    const entryOurs = ours.defaultEntry === undefined ? undefined : ours.entries[ours.defaultEntry];
    expect(`${entryOurs?.id}${entryOurs?.cmdline.replace(/^BOOT_IMAGE=\S+|["\s]/g, '')}`).toBe(chosen);
  });

  /** As `emulate`, without the `halt` that would come before the menu. */
  function emulateMenu(config: string): string {
    writeFileSync(join(directory, 'grub.cfg'), config);
    const { stdout } = spawnSync('grub-emu', ['-d', directory], {
      input: '',
      timeout: 20_000,
      env: { ...process.env, TERM: 'dumb' },
      encoding: 'utf8',
    });
    // biome-ignore lint/suspicious/noControlCharactersInRegex: the terminal's colours
    return stdout.replace(/\u001b\[[0-9;?]*[A-Za-z]|\r/g, '').replace(/\s+/g, '');
  }
});

describe.skipIf(!has('grub-editenv', 'grub-common'))('the environment block is that of grub-editenv', () => {
  test('values with every kind of character', () => {
    const value = fc.string({ unit: fc.constantFrom(...'abc =\\"\'$#\n>'), maxLength: 20 });
    const block = fc.uniqueArray(fc.tuple(fc.stringMatching(/^[a-z_]{1,8}$/), value), {
      maxLength: 5,
      selector: ([name]) => name,
    });
    for (const variables of fc.sample(block, { numRuns: effort(12), seed: 4 })) {
      const file = join(directory, 'grubenv');
      execFileSync('grub-editenv', [file, 'create']);
      for (const [name, text] of variables) execFileSync('grub-editenv', [file, 'set', `${name}=${text}`]);
      const parsed = new Map(parseEnvironmentBlock(readFileSync(file, 'utf8')));
      expect(parsed).toEqual(new Map(variables));
    }
  });
});
