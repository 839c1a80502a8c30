/** Texts of `tsvmm --help` that commander does not make: examples, which come first, and the table of exit codes. */
import { exitCodeTexts } from './exit-codes.js';
import { table } from './print.js';

type Example = readonly [command: string, meaning: string];

const run: readonly Example[] = [
  ['tsvmm run disk.img', 'boot the disk, console here'],
  ['tsvmm run disk.img -m 2G -c 4 --ephemeral', 'and keep nothing that is written'],
  ["tsvmm run disk.img --append 'systemd.unit=rescue.target'", 'add to its kernel command line'],
  ["tsvmm run --kernel bzImage --initrd initrd.img --cmdline 'console=ttyS0'", 'boot a kernel of your own'],
  ["tsvmm run disk.img --until 'login:' --timeout 2m </dev/null", 'check that a disk boots'],
  ['tsvmm run disk.img --console virtio --timeline boot.html', 'a faster console, and a picture of the boot'],
];

const byCommand: Readonly<Record<string, readonly Example[]>> = {
  '': [
    ['tsvmm run disk.img', 'boot a disk image'],
    ['tsvmm doctor', 'tell whether virtual machines can run here'],
    ['tsvmm image inspect disk.img', 'show what would boot, and why'],
  ],
  run,
  doctor: [
    ['tsvmm doctor', 'a line for each check'],
    ['tsvmm doctor --json', 'the same for programs'],
  ],
  'image inspect': [['tsvmm image inspect disk.img', 'partitions, file systems, boot entries']],
  help: [
    ['tsvmm help run', 'the options of tsvmm run'],
    ['tsvmm help exit-codes', 'what the exit codes mean'],
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
