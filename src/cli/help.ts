/** Texts of `tsvmm --help` that commander does not make: examples, which come first, and the topics. */
import { verbs } from './control/commands/table.js';
import { exitCodeTexts } from './exit-codes.js';
import { table } from './print.js';

export type Example = readonly [command: string, meaning: string];

const run: readonly Example[] = [
  ['tsvmm run disk.img', 'boot the disk, console here'],
  ['tsvmm run disk.img -m 2G -c 4 --ephemeral', 'and keep nothing that is written'],
  ["tsvmm run disk.img --append 'systemd.unit=rescue.target'", 'add to its kernel command line'],
  ["tsvmm run --kernel bzImage --initrd initrd.img --cmdline 'console=ttyS0'", 'boot a kernel of your own'],
  ["tsvmm run disk.img --until 'login:' --timeout 2m </dev/null", 'check that a disk boots'],
  ['tsvmm run disk.img --console virtio --timeline boot.html', 'a faster console, and a picture of the boot'],
  ['tsvmm run disk.img --name web </dev/null >web.log 2>&1 &', 'in the background; tsvmm console web attaches'],
];

const byCommand: Readonly<Record<string, readonly Example[]>> = {
  '': [
    ['tsvmm run disk.img', 'boot a disk image'],
    ['tsvmm ps', 'list the machines that run'],
    ['tsvmm restore DIR', 'let one go on that tsvmm snapshot wrote'],
    ['tsvmm doctor', 'tell whether virtual machines can run here'],
    ['tsvmm image inspect disk.img', 'show what would boot, and why'],
  ],
  run,
  restore: [
    ['tsvmm restore monday', 'go on from the snapshot in monday, console here'],
    ['tsvmm restore monday --name web </dev/null >web.log 2>&1 &', 'in the background; tsvmm console web attaches'],
    ['tsvmm restore monday --clock keep', 'as if no time had passed'],
    ["tsvmm restore monday --until 'done' --timeout 2m </dev/null", 'from the same point as often as it is needed'],
  ],
  ps: [
    ['tsvmm ps', 'a line for each machine that has a name'],
    ["tsvmm ps --json | jq -r '.machines[].name'", 'the same for programs'],
  ],
  ...Object.fromEntries(verbs.map(([name, { examples }]) => [name, examples])),
  doctor: [
    ['tsvmm doctor', 'a line for each check'],
    ['tsvmm doctor --json', 'the same for programs'],
  ],
  image: [['tsvmm image inspect disk.img', 'what it holds and what would boot']],
  'image inspect': [
    ['tsvmm image inspect disk.img', 'partitions, file systems, boot entries'],
    ["tsvmm image inspect disk.img --json | jq '.entries[].title'", 'the same for programs'],
  ],
  'snapshot inspect': [
    ['tsvmm snapshot inspect DIR', 'memory, disks, registers'],
    ["tsvmm snapshot inspect DIR --json | jq '.vcpus[0].rip'", 'the same for programs'],
  ],
  'snapshot verify': [['tsvmm snapshot verify DIR', 'reads all of its memory and disks']],
  'snapshot merge': [['tsvmm snapshot merge DIR WHOLE', 'WHOLE needs no other snapshot']],
  'snapshot vmcore': [
    ['tsvmm snapshot vmcore DIR core', 'write it'],
    ["gdb -c core -ex 'info registers' -ex 'x/8xg 0x1000'", 'look at it: addresses are guest-physical'],
  ],
  completion: [
    ['source <(tsvmm completion bash)', 'in ~/.bashrc'],
    ['source <(tsvmm completion zsh)', 'in ~/.zshrc, after compinit'],
    ['tsvmm completion fish | source', 'in ~/.config/fish/config.fish'],
  ],
  help: [
    ['tsvmm help run', 'the options of tsvmm run'],
    ['tsvmm help exit-codes', 'what the exit codes mean'],
    ['tsvmm help environment', 'the environment variables that tsvmm reads'],
  ],
};

/** The examples of a command, as the first part of its help. */
export function examplesOf(path: string): string {
  const examples = byCommand[path];
  return examples ? `Examples:\n${table(examples, '  ')}` : '';
}

export const exitCodesHelp = (): string =>
  `Exit codes of tsvmm\n\n${table(
    exitCodeTexts.map(([code, text]) => [String(code), text]),
    '  ',
  )}`;

/** The same for programs. */
export const exitCodesJson = (): string =>
  `${JSON.stringify({ exitCodes: exitCodeTexts.map(([code, meaning]) => ({ code, meaning })) })}\n`;

/** Every environment variable that the command reads; the library reads none. */
export const environmentVariables: readonly (readonly [name: string, meaning: string])[] = [
  ['NO_COLOR', 'no colours, whatever else is set'],
  ['FORCE_COLOR', 'colours even where the output is no terminal; 0 is as if it were not set'],
  ['TERM', 'dumb: no colours'],
  ['CI', 'set, and neither 0 nor false: no hint about keys to press'],
  ['TSVMM_CODE_CACHE', '0: keep nothing of what V8 compiled for the next start'],
  ['XDG_CACHE_HOME', 'where that is kept, in tsvmm; ~/.cache if it is not set'],
  ['XDG_RUNTIME_DIR', 'where the sockets of machines with a name are, in tsvmm; /tmp/tsvmm-UID if it is not set'],
];

export const environmentHelp = (): string => `Environment:\n${table(environmentVariables, '  ')}`;

/** What `tsvmm help` explains besides the commands. */
export const topics = ['exit-codes', 'environment'];
