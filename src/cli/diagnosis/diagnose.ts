/**
 * Why a guest did not boot, guessed from what its console showed and from how it was started. Main thread; pure.
 *
 * The console is the guest's text: it decides what is guessed, nothing else. The rules stand in the order in which one
 * failure leads to the next: a guest without memory cannot unpack its initrd, and without one it finds no root.
 */
import { printable } from '../print.js';
import { defaultMemory, type RunArguments } from '../run-flags.js';
import { parseSize } from '../values.js';
import { addWords, type Change, commandWith, dropWords, givenWords, shellCommand } from './command.js';

export interface BootFacts {
  readonly given: RunArguments;
  /** The newest output, at most 64 KiB. */
  readonly consoleTail: string;
  /** The guest is gone because it, or its CPU, could not go on. */
  readonly crashed: boolean;
}

export interface Diagnosis {
  readonly cause: string;
  /** The line of the console that tells. */
  readonly line?: string;
  /** A command to try next. */
  readonly next: string;
}

interface Context {
  readonly given: RunArguments;
  readonly console: string;
  readonly crashed: boolean;
  /** The whole line of the first match. */
  line(pattern: RegExp): string | undefined;
  run(change?: Change): string;
}

/** What a guest shows last that waits for a person, or for nothing. */
const givenUp =
  /\(initramfs\)\s*$|(?:dracut|emergency|sh-[\d.]+|:\/root|\[rootfs [^\n\]]*\])[#:][^\n]*$|emergency mode|emergency (?:recovery )?shell|for maintenance|Kernel panic - not syncing|-- System halted|^\s*$/;

/** Whether a guest that runs and is silent will not go on by itself, as far as its console tells. */
export const hasGivenUp = (consoleTail: string): boolean => givenUp.test(printable(consoleTail));

/** The kernel's command line names a console that is shown; a disk's own is given one. */
export const asksForConsole = (given: RunArguments): boolean =>
  given.values['kernel'] === undefined || visibleConsole.test(givenWords(given));
const visibleConsole = /(?:^|\s)console=(?:ttyS0|hvc0)/;

type Rule = (context: Context) => Diagnosis | undefined;

/** The most likely cause, or undefined when nothing that went wrong was recognised. */
export function diagnose({ given, consoleTail, crashed }: BootFacts): Diagnosis | undefined {
  const console = printable(consoleTail);
  const context: Context = {
    given,
    console,
    crashed,
    line(pattern) {
      const match = pattern.exec(console);
      if (match === null) return undefined;
      const begin = console.lastIndexOf('\n', match.index) + 1;
      const end = console.indexOf('\n', match.index);
      return console.slice(begin, end < 0 ? undefined : end).trim();
    },
    run: (change) => commandWith(given, change),
  };
  for (const rule of rules) {
    const found = rule(context);
    if (found !== undefined) return found;
  }
  return undefined;
}

/** A finding that stands on a line of the console. */
const seen = (line: string | undefined, cause: string, next: string): Diagnosis | undefined =>
  line === undefined ? undefined : { cause, line, next };

const MiB = 1024 ** 2;
const enoughMemory = 512 * MiB;

const outOfMemory: Rule = ({ given, line, run }) => {
  const text = given.values['memory'] ?? defaultMemory;
  const more = Math.max(enoughMemory, 2 * parseSize(text, '--memory'));
  return seen(
    line(
      /System is deadlocked on memory|Initramfs unpacking failed: write error|Out of memory|page allocation failure|Cannot allocate memory|No space left on device.*initr|can not alloc memory|initrd too large to handle|Failed to allocate (?:memmap|\d+ bytes)/i,
    ),
    `the guest ran out of memory: it has ${text}`,
    run({ set: { memory: `${Math.ceil(more / MiB)}M` } }),
  );
};

const wrongCpu: Rule = ({ line, run }) =>
  seen(
    line(/This kernel requires .* CPU|requires the following features not present/),
    'the kernel needs features of the CPU that this guest is not given',
    run({ drop: ['cpu'] }),
  );

const corruptKernel: Rule = ({ given, line }) =>
  seen(
    line(/-- System halted/),
    'the kernel cannot unpack itself: its file is damaged',
    given.values['kernel'] === undefined ? inspectDisk(given) : shellCommand(['file', given.values['kernel']]),
  );

const wrongInit: Rule = ({ given, line, run }) => {
  const words = /^(?:rd)?init=/;
  if (
    !givenWords(given)
      .split(/\s+/)
      .some((word) => words.test(word))
  )
    return undefined;
  return seen(
    line(/Requested init .* failed|check access for rdinit=|Failed to execute .*\(error|Attempted to kill init!/),
    'what init= or rdinit= names is not there, cannot be run, or ended',
    run(dropWords(given, words)),
  );
};

/** What only an initrd that was unpacked says: those of Debian, of dracut, of Arch Linux and of Alpine. */
const rootMissing =
  /(?:ALERT!|Warning:)\s+.* does not exist|Waiting for root device|Timed out waiting for device.*(?:dev-|\/dev\/)|ERROR: device '.{1,200}' not found|ERROR: Failed to mount '.{1,200}' on real root|mounting .{1,200} on \/sysroot failed|Unable to find a medium containing a live file system/;

const wrongInitrd: Rule = ({ given, line, run }) => {
  // Kernels say this also of a padded LZ4 archive that they have unpacked.
  const unpacking =
    line(rootMissing) === undefined ? /Initramfs unpacking failed/ : /Initramfs unpacking failed(?!: Decoding failed)/;
  const told =
    line(unpacking) ??
    line(
      /rootfs image is not initramfs|junk (?:within|in|at the end of) compressed archive|invalid magic at start of compressed archive|Failed to execute \/init|No working init found/,
    );
  if (given.values['initrd'] === undefined)
    return seen(told, 'the initrd is damaged or not one that this kernel can unpack', inspectDisk(given));
  return seen(
    told,
    `${given.values['initrd']} is damaged, or not an initrd that this kernel can unpack`,
    given.disk === undefined ? shellCommand(['file', given.values['initrd']]) : bootItself(run),
  );
};

/** Signs of a disk that was found, or of the driver at work. */
const foundByMmio = /virtio_blk virtio\d|virtio-mmio: Registering/;

const noRoot: Rule = ({ given, line, run, console }) => {
  const told =
    line(rootMissing) ??
    line(
      /Cannot open root device|Unable to mount root fs|Begin: Waiting for root file system|dracut-initqueue.*timeout|Mounting boot media: failed/,
    ) ??
    line(
      /No root device specified|root device .* not found|(?:^|\n)\(initramfs\)|initramfs emergency recovery shell|\[rootfs [^\n\]]*\]#/i,
    );
  if (told === undefined) return undefined;
  const { kernel, initrd } = given.values;
  const named = /(?:^|\s)root=/.test(givenWords(given));
  if (given.values['transport'] === 'mmio' && (kernel !== undefined || !named) && !foundByMmio.test(console)) {
    const acpi = line(/ACPI: Unable to load the System Description Tables/);
    if (acpi !== undefined)
      return seen(
        acpi,
        'the kernel cannot read the ACPI tables, which say where its disk is; Linux needs CONFIG_PCI for that, even where there is no PCI',
        run(addWords(given, 'acpi=off')),
      );
    return seen(
      told,
      'the guest found no disk: its kernel, or its initrd, may have no driver for virtio-mmio',
      run({ drop: ['transport'] }),
    );
  }
  const disks = given.disk !== undefined || given.disks.length > 0;
  if (kernel === undefined)
    return seen(
      told,
      named
        ? 'the root device of --append is not on the disk'
        : 'the root device that the boot entry names is not on the disk, or another disk is missing',
      named ? run(dropWords(given, /^root=/)) : inspectDisk(given),
    );
  if (disks) {
    const why =
      initrd === undefined
        ? 'the kernel has no initrd that would load the driver of its disk, or root= names no partition of it'
        : 'root= names no partition of the disks';
    return seen(told, `${why}; the disk may bring a kernel and initrd of its own`, bootItself(run));
  }
  return seen(
    told,
    initrd === undefined
      ? 'the kernel has neither an initrd nor a disk'
      : 'the initrd looks for a disk, and there is none',
    `${run()} DISK`,
  );
};

const emergency: Rule = ({ given, line, run }) =>
  seen(
    line(/(?:You are in|Entering) emergency mode|Give root password for maintenance|Welcome to emergency mode/),
    'systemd gave up on something that it was to mount or start, and wants a person',
    run(addWords(given, 'systemd.journald.forward_to_console=1')),
  );

const nothingSaid: Rule = ({ given, console, crashed, run }) => {
  if (console.trim() !== '') return undefined;
  const words = givenWords(given);
  if (!asksForConsole(given)) {
    const consoles = given.values['console'] === 'virtio' ? 'console=ttyS0 console=hvc0' : 'console=ttyS0';
    return {
      cause: 'no console on the command line: the kernel has printed nothing that could be seen',
      next: run(addWords(given, consoles)),
    };
  }
  const early = 'earlyprintk=serial,ttyS0,115200 ignore_loglevel';
  return {
    cause: crashed ? 'the guest crashed before it printed anything' : 'the guest has printed nothing',
    next: run(words.includes(early) ? {} : addWords(given, early)),
  };
};

const panicked: Rule = ({ given, line, run }) =>
  seen(
    line(/Kernel panic - not syncing: /),
    'the kernel panicked',
    run(/(?:^|\s)ignore_loglevel/.test(givenWords(given)) ? {} : addWords(given, 'ignore_loglevel')),
  );

const rules: readonly Rule[] = [
  outOfMemory,
  wrongCpu,
  wrongInit,
  wrongInitrd,
  corruptKernel,
  noRoot,
  emergency,
  nothingSaid,
  panicked,
];

/** What the disk itself would boot. */
const bootItself = (run: Context['run']): string => run({ drop: ['kernel', 'initrd', 'cmdline'] });

/** The file of the disk that is booted, without its options. */
function inspectDisk({ disk = '' }: RunArguments): string {
  const file = /^(?:[^,]|,,)*/.exec(disk)![0].replaceAll(',,', ',');
  return shellCommand(['tsvmm', 'image', 'inspect', file]);
}
