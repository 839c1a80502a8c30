/** The completion scripts, in the shells they are for: what a press of the Tab key answers. */
import { execFileSync, spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { complete } from '../../../src/cli/complete.js';
import { runProgram } from '../../../src/cli/program.js';
import { runFlags } from '../../../src/cli/run-flags.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-completion-'));
const shells = ['bash', 'zsh', 'fish'] as const;
const has = (shell: string): boolean => spawnSync(shell, ['-c', 'true']).status === 0;

async function output(...argv: string[]): Promise<{ code: number; out: string; err: string }> {
  let out = '';
  let err = '';
  const nothing = async (): Promise<number> => 0;
  const code = await runProgram(
    argv,
    {
      run: nothing,
      restore: nothing,
      doctor: nothing,
      inspect: nothing,
      snapshot: nothing,
      ps: nothing,
      control: nothing,
    },
    {
      out: (text) => {
        out += text;
      },
      err: (text) => {
        err += text;
      },
    },
  );
  return { code, out, err };
}

beforeAll(async () => {
  for (const shell of shells)
    writeFileSync(join(folder, `completion.${shell}`), (await output('completion', shell)).out);
  // Stands in for the command: what it is asked comes back, so that quoting shows.
  writeFileSync(
    join(folder, 'tsvmm'),
    `#!/bin/sh
[ "$1" = __complete ] || exit 1
case $2 in
  cpu) printf 'host\\nx86-64-v2\\n' ;;
  machine) printf 'db\\nweb\\n' ;;
  entry) case "$*" in *disk.img*) printf "Debian GNU/Linux, with Linux 6.1\\nIt's another\\n" ;; esac ;;
esac
`,
  );
  chmodSync(join(folder, 'tsvmm'), 0o755);
  mkdirSync(join(folder, 'here'));
  for (const name of ['disk.img', 'a disk.img', 'kernel']) writeFileSync(join(folder, 'here', name), '');
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const options = {
  cwd: join(folder, 'here'),
  encoding: 'utf8',
  env: { ...process.env, PATH: `${folder}:${process.env['PATH']}`, LC_ALL: 'C.UTF-8', HOME: folder },
} as const;

const commands = [
  'completion',
  'console',
  'doctor',
  'fork',
  'help',
  'image',
  'pause',
  'ps',
  'restore',
  'resume',
  'run',
  'snapshot',
  'stop',
];

/** What bash would offer for the last of `words`, split as readline splits them. */
function bash(...words: string[]): string[] {
  const script = `source ../completion.bash
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _tsvmm; printf '%s\\n' "\${COMPREPLY[@]}"`;
  return execFileSync('bash', ['--norc', '-c', script, 'bash', ...words], options)
    .split('\n')
    .filter(Boolean)
    .sort();
}
/** What fish would offer, without the descriptions. */
function fish(line: string): string[] {
  const script = `source ../completion.fish; complete -C ${JSON.stringify(line)}`;
  const offered = execFileSync('fish', ['--no-config', '-c', script], options).split('\n').filter(Boolean);
  return offered.map((text) => text.split('\t')[0]!).sort();
}

describe('tsvmm completion', () => {
  it('refuses other shells, and says which there are', async () => {
    const { code, err } = await output('completion', 'tcsh');
    expect(code).toBe(2);
    expect(err).toContain('bash, zsh, fish');
  });

  it.each(shells)('%s: its script is one that the shell can read', (shell) => {
    if (!has(shell)) return;
    const { status, stderr } = spawnSync(shell, ['-n', `../completion.${shell}`], options);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
  });

  it.each(shells)('%s: its script has every option', async (shell) => {
    const { out } = await output('completion', shell);
    for (const { name } of runFlags) expect(out).toMatch(new RegExp(`(--|-l )${name}\\b`));
  });
});

describe.skipIf(!has('bash'))('bash', () => {
  it('completes commands and subcommands', () => {
    expect(bash('tsvmm', '')).toEqual(commands);
    expect(bash('tsvmm', 'do')).toEqual(['doctor']);
    expect(bash('tsvmm', 'image', '')).toEqual(['inspect']);
    expect(bash('tsvmm', 'help', 'e')).toEqual(['environment', 'exit-codes']);
    expect(bash('tsvmm', 'help', 'image', '')).toEqual(['inspect']);
    expect(bash('tsvmm', 'completion', '')).toEqual(['bash', 'fish', 'zsh']);
  });
  it('completes options', () => {
    expect(bash('tsvmm', 'run', '--tr')).toEqual(['--transport']);
    expect(bash('tsvmm', 'run', '--memory', '512M', '--until', 'x', '--co')).toEqual(['--console']);
    expect(bash('tsvmm', 'image', 'inspect', '-')).toEqual(['--help', '--json', '--verbose', '-h', '-v']);
  });
  it('completes values, after a space and after =', () => {
    expect(bash('tsvmm', 'restore', '--clock', '')).toEqual(['catch-up', 'keep']);
    expect(bash('tsvmm', 'run', '--transport', '')).toEqual(['mmio', 'pci']);
    expect(bash('tsvmm', 'run', '--console', '=', 'v')).toEqual(['virtio']);
    expect(bash('tsvmm', 'run', '--console', '=')).toEqual(['serial', 'virtio']);
    expect(bash('tsvmm', 'run', '--memory', '')).toEqual([]);
  });
  it('completes files', () => {
    expect(bash('tsvmm', 'run', '')).toEqual(['a disk.img', 'disk.img', 'kernel']);
    expect(bash('tsvmm', 'restore', 'k')).toEqual(['kernel']);
    expect(bash('tsvmm', 'run', '--kernel', 'k')).toEqual(['kernel']);
    expect(bash('tsvmm', 'image', 'inspect', 'd')).toEqual(['disk.img']);
  });
  it('asks tsvmm for what only the disk or the machine knows', () => {
    expect(bash('tsvmm', 'stop', '')).toEqual(['db', 'web']);
    expect(bash('tsvmm', 'console', 'w')).toEqual(['web']);
    expect(bash('tsvmm', 'stop', 'web', '--k')).toEqual(['--kill']);
    expect(bash('tsvmm', 'snapshot', '')).toEqual(['db', 'inspect', 'merge', 'verify', 'vmcore', 'web']);
    expect(bash('tsvmm', 'snapshot', 'web', 'k')).toEqual(['kernel']);
    expect(bash('tsvmm', 'snapshot', 'web', 'k', '--d')).toEqual(['--diff']);
    expect(bash('tsvmm', 'resume', 'web', '--clock', '')).toEqual(['catch-up', 'keep']);
    expect(bash('tsvmm', 'run', '--cpu', 'x')).toEqual(['x86-64-v2']);
    expect(bash('tsvmm', 'run', 'disk.img', '--entry', '')).toEqual([
      'Debian\\ GNU/Linux\\,\\ with\\ Linux\\ 6.1',
      "It\\'s\\ another",
    ]);
    expect(bash('tsvmm', 'run', '--entry', '')).toEqual([]);
  });
  it('completes nothing after --', () => expect(bash('tsvmm', 'run', '--', '--tr')).toEqual([]));
});

describe.skipIf(!has('fish'))('fish', () => {
  it('completes commands, options and values', () => {
    expect(fish('tsvmm ')).toEqual(commands);
    expect(fish('tsvmm image ')).toEqual(['inspect']);
    expect(fish('tsvmm help image ')).toEqual(['inspect']);
    expect(fish('tsvmm run --tr')).toEqual(['--transport']);
    expect(fish('tsvmm run --transport ')).toEqual(['mmio', 'pci']);
    expect(fish('tsvmm run --cpu x')).toEqual(['x86-64-v2']);
    expect(fish('tsvmm run disk.img --entry ')).toEqual(['Debian GNU/Linux, with Linux 6.1', "It's another"]);
    expect(fish('tsvmm run --kernel k')).toEqual(['kernel']);
    expect(fish('tsvmm run d')).toContain('disk.img');
    expect(fish('tsvmm doctor ')).toEqual([]);
    expect(fish('tsvmm pause ')).toEqual(['db', 'web']);
    expect(fish('tsvmm snapshot ')).toEqual(['db', 'inspect', 'merge', 'verify', 'vmcore', 'web']);
    expect(fish('tsvmm snapshot web k')).toEqual(['kernel']);
  });
});

describe.skipIf(!has('zsh'))('zsh', () => {
  it('completes commands, options and values', () => {
    // Typed on a pseudo-terminal, with the Tab key; each waits for what zsh then adds to the line.
    const cases = [
      ['tsvmm doc', 'tor'],
      ['tsvmm image ins', 'pect'],
      ['tsvmm help image ins', 'pect'],
      ['tsvmm pause we', 'b'],
      ['tsvmm snapshot insp', 'ect'],
      ['tsvmm snapshot we', 'b'],
      ['tsvmm snapshot web ker', 'nel'],
      ['tsvmm run --tran', 'sport'],
      ['tsvmm run --transport=m', 'mmio'],
      ['tsvmm run --cpu x8', '6-64-v2'],
      ['tsvmm run --kernel k', 'ernel'],
      ['tsvmm run disk.img --entry It', 'another'],
    ];
    const typed = cases.map(([line, rest], i) => `zpty -n -w z $'\\C-u${line}\\t'; look '${rest}' && print ok ${i}`);
    const script = `
zmodload zsh/zpty
zpty -b z zsh -f -i
look() {
  local line shown=; integer i
  for ((i = 0; i < 300; i++)); do
    while zpty -r -t z line; do shown+=$line; done
    [[ $shown == *$1* ]] && return 0
    sleep 0.1
  done
  print -r -- "no $1 in: \${(V)shown}"; return 1
}
zpty -w z 'PS1=; unset zle_bracketed_paste; autoload -U compinit; compinit -D -u; source ../completion.zsh; print RE""ADY'
look READY; sleep 1
${typed.join('\n')}
zpty -d z`;
    const shown = execFileSync('zsh', ['-f', '-c', script], options);
    expect(shown.trim().split('\n')).toEqual(cases.map((_, i) => `ok ${i}`));
  });
});

describe('tsvmm __complete', () => {
  it('knows CPU models, and features after a comma', async () => {
    expect(await complete('cpu', '', ['run', '--cpu'])).toEqual(expect.arrayContaining(['x86-64-v3', 'help']));
    const features = await complete('cpu', 'host,-avx,+a', []);
    expect(features).toContain('host,-avx,+aes');
    expect(features.every((feature) => feature.startsWith('host,-avx,'))).toBe(true);
  });
  it('answers nothing for a disk that it cannot read, and for what it does not know', async () => {
    expect(await complete('entry', '', ['run', join(folder, 'nowhere.img'), '--entry', ''])).toEqual([]);
    expect(await complete('entry', '', ['run', join(folder, 'here/kernel'), '--entry', ''])).toEqual([]);
    expect(await complete('entry', '', ['run', '--entry'])).toEqual([]);
    expect(await complete('what', '', [])).toEqual([]);
  });
});
