/** Errors speak of options that their reader has: those of the API in the library, those of the command in the command. */
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, it, test } from 'vitest';
import { parseRun, runFlags } from '../../../src/cli/run-flags.js';
import { runOptions } from '../../../src/cli/run-options.js';
import { cliMessage } from '../../../src/cli/wording.js';
import { TsvmmError } from '../../../src/errors.js';
import { packageRoot } from '../../../src/host/addon.js';
import { normalize } from '../../../src/machine/options.js';

/** What the command says of a command line that is wrong. */
function complaint(...argv: string[]): { message: string; hint: string | undefined } {
  try {
    normalize(runOptions(parseRun(argv)!).machine);
  } catch (error) {
    if (error instanceof TsvmmError) return cliMessage(error);
    throw error;
  }
  throw new Error('nothing was thrown');
}

describe('the command', () => {
  it.each([
    [['d', '--timeout', '5'], '--timeout: "5" is not a duration', 'write a number with ms, s or m, such as 30s'],
    [['d', '-m', 'much'], '--memory: "much" is not a size', 'write a number with K, M, G or T, such as 512M'],
    [['d', '-m', '4096T'], '--memory: 4096T is not possible', 'use a size from 2M to 1T'],
    [['d', '-c', '5000'], '--cpus: 5000 is not possible', 'use a whole number from 1 to 254'],
    [['d', '-c', '4,sockets=3'], /^--cpus: /, /./],
    [['d', '--name', 'a/b'], /^--name: "a\/b" cannot be a name/, /letters/],
    [['d', '--entry', '0'], '--entry: 0 is not possible', 'use a whole number from 1 to 10000'],
    [['--kernel', ''], '--kernel: the path is empty', 'pass the path of a file'],
    [['d', '-m', '65M', '--hugepages', 'hugetlb'], /^--memory: /, /multiple of 2M/],
  ] as const)('%j', (argv, message, hint) => {
    const said = complaint(...argv);
    expect(said.message).toMatch(message);
    expect(said.hint).toMatch(hint);
  });

  it.each([
    [
      'Choose another entry with boot.entry. Pass a kernel with boot: { kernel, initrd, cmdline }.',
      'Choose another entry with --entry. Pass a kernel with --kernel, --initrd and --cmdline.',
    ],
    [
      'Give the number or the title of one of them as boot.entry.',
      'Give the number or the title of one of them with --entry.',
    ],
    [
      "leave out hugepages: 'hugetlb'; transparent huge pages (thp)",
      'leave out --hugepages hugetlb; transparent huge pages (thp)',
    ],
    ['ask for less memory, or leave out prefault', 'ask for less memory, or leave out --prefault'],
    ["give the machine fewer disks, or use transport: 'pci'", 'give the machine fewer disks, or use --transport pci'],
    ["give it more than 93 MiB, for example memory: '256M'", 'give it more than 93 MiB, for example -m 256M'],
    ['add "avx" as well, or leave out "avx2"', 'add +avx as well, or leave out +avx2'],
  ])('%s', (hint, said) => {
    expect(cliMessage(new TsvmmError('ERR_TSVMM_CONFIG', 'x', { hint })).hint).toBe(said);
  });
});

test('the library names no option of the command in what it throws', () => {
  const src = join(packageRoot(), 'src');
  const files = readdirSync(src, { recursive: true })
    .map(String)
    // The doctor's report is the command's alone.
    .filter((name) => name.endsWith('.ts') && !/^(cli\/|machine\/doctor)/.test(name));
  const flags = runFlags.map(({ name }) => name).join('|');
  const offence = new RegExp(`(?<!tsvmm run )--(${flags})\\b`);
  for (const name of files) {
    const code = readFileSync(join(src, name), 'utf8').replace(/\/\*[\s\S]*?\*\/|\/\/.*$/gm, '');
    expect(offence.exec(code)?.[0], name).toBeUndefined();
  }
});
