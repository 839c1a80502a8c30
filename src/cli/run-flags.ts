/**
 * The options of `tsvmm run`, in one table: node:util parses them from it on the fast path, commander shows and checks
 * them from it on the slow one. Main thread.
 */
import { type ParseArgsConfig, parseArgs } from 'node:util';

export interface Flag {
  readonly name: string;
  readonly short?: string;
  /** Present: the option takes a value, shown as this. */
  readonly value?: string;
  readonly multiple?: true;
  readonly group: 'Machine' | 'Disks' | 'Boot' | 'Output' | 'Ending';
  readonly text: string;
  readonly default?: string;
}

export const defaultMemory = '512M';
export const defaultCpus = '1';
export const defaultConsole = 'serial';
export const defaultTransport = 'pci';
/** Shorter than the 90 s after which service managers stop being patient. */
export const defaultStopTimeout = '60s';

export const runFlags: readonly Flag[] = [
  {
    name: 'memory',
    short: 'm',
    value: 'SIZE',
    group: 'Machine',
    text: 'guest memory, such as 512M or 2G',
    default: defaultMemory,
  },
  {
    name: 'hugepages',
    value: 'thp|hugetlb|off',
    group: 'Machine',
    text: 'pages of guest memory: thp (huge where possible), hugetlb (2M, from vm.nr_hugepages) or off',
    default: 'thp',
  },
  { name: 'prefault', group: 'Machine', text: 'fault all guest memory in before the guest starts' },
  {
    name: 'cpus',
    short: 'c',
    value: 'N[,PART=N]',
    group: 'Machine',
    text: 'virtual CPUs, and their sockets=N, cores=N in each and threads=N in each of those',
    default: defaultCpus,
  },
  {
    name: 'cpu',
    value: 'MODEL[,+F][,-F]',
    group: 'Machine',
    text: 'CPU model and features added or removed; help lists them',
    default: 'host',
  },
  {
    name: 'transport',
    value: 'pci|mmio',
    group: 'Machine',
    text: 'how the guest reaches its devices; mmio is for kernels built for microVMs',
    default: defaultTransport,
  },
  {
    name: 'name',
    value: 'NAME',
    group: 'Machine',
    text: 'name of the machine, for tsvmm ps, console, stop and the other commands on one that runs',
  },
  {
    name: 'disk',
    value: 'FILE[,OPTION]',
    multiple: true,
    group: 'Disks',
    text: 'another disk (repeatable); options as for DISK',
  },
  { name: 'ephemeral', group: 'Disks', text: 'discard what the guest writes to its disks' },
  {
    name: 'entry',
    value: 'N|TITLE',
    group: 'Boot',
    text: 'boot entry of the disk, by number or title, instead of its default',
  },
  { name: 'append', value: 'TEXT', group: 'Boot', text: "add to the kernel command line of the disk's boot entry" },
  {
    name: 'kernel',
    value: 'FILE',
    group: 'Boot',
    text: 'boot this kernel (bzImage, ELF or UKI) instead of one from the disk',
  },
  { name: 'initrd', value: 'FILE', group: 'Boot', text: 'initial RAM disk for --kernel; of a UKI it follows its own' },
  { name: 'cmdline', value: 'TEXT', group: 'Boot', text: "kernel command line for --kernel; default a UKI's own" },
  {
    name: 'console',
    value: 'serial|virtio',
    group: 'Output',
    text: "the guest's console: its serial port, or a virtio console, which is faster and knows the terminal's size",
    default: defaultConsole,
  },
  {
    name: 'timeline',
    value: 'FILE',
    group: 'Output',
    text: 'write a page with a picture of the boot, from process start to login prompt',
  },
  { name: 'json', group: 'Output', text: 'events as JSON lines on stdout; the console goes to stderr' },
  { name: 'quiet', short: 'q', group: 'Output', text: 'no notices and warnings on stderr, only errors' },
  { name: 'verbose', short: 'v', group: 'Output', text: 'log to stderr, and stack traces with errors' },
  { name: 'no-reboot', group: 'Ending', text: 'end when the guest reboots' },
  { name: 'until', value: 'TEXT', group: 'Ending', text: 'power the guest off once TEXT appears on its console' },
  {
    name: 'timeout',
    value: 'DURATION',
    group: 'Ending',
    text: 'power the guest off after this long, such as 90s or 5m',
  },
  {
    name: 'stop-timeout',
    value: 'DURATION',
    group: 'Ending',
    text: 'force a guest off that has not powered off this long after it was asked',
    default: defaultStopTimeout,
  },
];

/** What the command line said, unchecked: texts, lists of texts and switches by option name. */
export interface RunArguments {
  readonly disk: string | undefined;
  readonly values: Readonly<Record<string, string | undefined>>;
  readonly disks: readonly string[];
  readonly switches: ReadonlySet<string>;
}

/** Options by name, as either parser has them. */
export type ParsedFlags = Readonly<Record<string, string | boolean | readonly string[] | undefined>>;

/** Sorts them into texts and switches. */
export function sortFlags(flags: readonly Flag[], parsed: ParsedFlags): Pick<RunArguments, 'values' | 'switches'> {
  const values: Record<string, string> = {};
  const switches = new Set<string>();
  for (const { name, multiple } of flags) {
    const given = parsed[name];
    if (typeof given === 'string') values[name] = given;
    else if (given === true && !multiple) switches.add(name);
  }
  return { values, switches };
}

export const runArguments = (disk: string | undefined, parsed: ParsedFlags): RunArguments => ({
  disk,
  ...sortFlags(runFlags, parsed),
  disks: (parsed['disk'] as readonly string[] | undefined) ?? [],
});

/**
 * Parses the arguments after `run`. Undefined when they ask for help or are not plainly right: then commander parses
 * them again, and says what is wrong.
 */
export function parseRun(argv: readonly string[]): RunArguments | undefined {
  const plain = parsePlain(runFlags, argv);
  return plain && plain.words.length <= 1 ? runArguments(plain.words[0], plain.parsed) : undefined;
}

/** Words and options of a command that has these; undefined as for `parseRun`. */
export function parsePlain(
  flags: readonly Flag[],
  argv: readonly string[],
): { readonly words: readonly string[]; readonly parsed: ParsedFlags } | undefined {
  const options: NonNullable<ParseArgsConfig['options']> = { help: { type: 'boolean', short: 'h' } };
  for (const { name, short, value, multiple } of flags) {
    options[name] = {
      type: value === undefined ? 'boolean' : 'string',
      multiple: multiple ?? false,
      ...(short && { short }),
    };
  }
  try {
    const { values, positionals } = parseArgs({ args: [...argv], options, allowPositionals: true, strict: true });
    return values['help'] ? undefined : { words: positionals, parsed: values as ParsedFlags };
  } catch {
    return undefined; // ERR_PARSE_ARGS_*: commander finds the same mistake and words it
  }
}
