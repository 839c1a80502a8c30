/** From the words of `tsvmm run` to the options of `VirtualMachine.start`. Main thread. */
import { TsvmmError } from '../errors.js';
import type { BootOptions, VmOptions } from '../machine/options.js';
import { parseMachineName } from './control/machine-name.js';
import {
  defaultConsole,
  defaultCpus,
  defaultMemory,
  defaultStopTimeout,
  defaultTransport,
  type RunArguments,
} from './run-flags.js';
import { parseChoice, parseCpu, parseCpus, parseDisk, parseDuration, parseEntry, parseSize } from './values.js';

/** How long a machine lives, as far as the command line decides. */
export interface LifeOptions {
  readonly until?: string;
  readonly timeoutMs?: number;
  readonly stopTimeoutMs: number;
}

export interface RunOptions extends LifeOptions {
  readonly machine: VmOptions;
}

const usage = (message: string, hint: string): TsvmmError => new TsvmmError('ERR_TSVMM_CONFIG', message, { hint });

/** Checks and converts everything that the command line said; throws `ERR_TSVMM_CONFIG`. */
export function runOptions(given: RunArguments): RunOptions {
  const { values, switches } = given;
  const disks = [
    ...(given.disk === undefined ? [] : [parseDisk(given.disk, 'DISK')]),
    ...given.disks.map((text) => parseDisk(text, '--disk')),
  ];
  if (switches.has('ephemeral')) for (const disk of disks) if (!disk.readOnly) disk.ephemeral ??= true;
  return {
    machine: {
      ...(values['name'] !== undefined && { name: parseMachineName(values['name'], '--name') }),
      memory: memoryOptions(given),
      ...parseCpus(values['cpus'] ?? defaultCpus, '--cpus'),
      cpu: parseCpu(values['cpu'] ?? 'host'),
      transport: parseChoice(values['transport'] ?? defaultTransport, '--transport', ['pci', 'mmio']),
      boot: bootOptions(given),
      disks,
      console: {
        device: parseChoice(values['console'] ?? defaultConsole, '--console', ['serial', 'virtio']),
        whenUnread: 'block',
      },
      onReboot: switches.has('no-reboot') ? 'exit' : 'reboot',
    },
    ...lifeOptions(values),
  };
}

export const lifeOptions = (values: RunArguments['values']): LifeOptions => ({
  stopTimeoutMs: parseDuration(values['stop-timeout'] ?? defaultStopTimeout, '--stop-timeout'),
  ...(values['until'] !== undefined && { until: untilText(values['until']) }),
  ...(values['timeout'] !== undefined && { timeoutMs: parseDuration(values['timeout'], '--timeout') }),
});

function memoryOptions({ values, switches }: RunArguments): NonNullable<VmOptions['memory']> {
  const size = parseSize(values['memory'] ?? defaultMemory, '--memory');
  const { hugepages } = values;
  const prefault = switches.has('prefault');
  if (hugepages === undefined && !prefault) return size;
  return {
    size,
    ...(hugepages !== undefined && { hugepages: parseChoice(hugepages, '--hugepages', ['thp', 'hugetlb', 'off']) }),
    ...(prefault && { prefault }),
  };
}

function bootOptions({ disk, values }: RunArguments): BootOptions {
  const { kernel, initrd, cmdline, append, entry } = values;
  if (kernel === undefined) {
    if (disk === undefined)
      throw usage('nothing to boot: no disk and no kernel', 'tsvmm run disk.img, or tsvmm run --kernel FILE');
    if (initrd !== undefined) throw usage('--initrd needs --kernel', "a disk's boot entry brings its own initrd");
    if (cmdline !== undefined)
      throw usage('--cmdline needs --kernel', "--append TEXT adds to the command line of the disk's boot entry");
    return {
      disk: 0,
      ...(entry !== undefined && { entry: parseEntry(entry) }),
      ...(append !== undefined && { append }),
    };
  }
  if (entry !== undefined)
    throw usage('--entry and --kernel exclude each other', 'an entry names its own kernel; leave one of them out');
  if (append !== undefined)
    throw usage('--append and --kernel exclude each other', 'give the whole command line with --cmdline');
  return { kernel, ...(initrd !== undefined && { initrd }), ...(cmdline !== undefined && { cmdline }) };
}

function untilText(text: string): string {
  if (text === '')
    throw usage('--until needs a text to wait for', "write what the console will show, such as --until 'login:'");
  return text;
}
