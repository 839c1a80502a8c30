/**
 * What a user may ask of a machine, and the checked form that the rest of machine/ works from. Main thread.
 *
 * Input from programs is not trusted to have the right types: every field is checked here, once, and a mistake is one
 * `ERR_TSVMM_CONFIG` that names the option, what it was and what it may be.
 */
import { type Transport, transports } from '../devices/memory-map.js';
import type { CpuTopology } from '../kvm/cpu-topology.js';
import type { CpuChoice } from '../kvm/cpuid.js';
import { bad, hasOptions, integer, known, oneOf, type Path, path, text } from './checks.js';
import { cpu, type TopologyOptions, topology } from './cpu-options.js';
import type { Disk } from './disk.js';
import { diskList } from './disk-list.js';
import type { DiskOptions } from './disk-options.js';
import { type MemoryConfig, type MemoryOptions, memory } from './memory-options.js';
import { parseSize, type Size, show } from './units.js';

/** A pino-shaped logger; the library logs nothing without one. */
export interface Logger {
  debug(o: object, m?: string): void;
  info(o: object, m?: string): void;
  warn(o: object, m?: string): void;
  error(o: object, m?: string): void;
}

export interface ConsoleOptions extends ConsoleReaderOptions {
  /**
   * `serial` (default), or `virtio`: a virtio console (hvc0) beside the serial port. The output of both is one stream, in
   * which a kernel message that both carry comes once; input goes to the virtio console while it has a driver.
   */
  device?: 'serial' | 'virtio' | undefined;
}

/** The program's end of a console, of which the guest knows nothing. */
export interface ConsoleReaderOptions {
  /** What happens to output that nobody reads: `drop-oldest` (default) keeps the newest, `block` stalls the guest. */
  whenUnread?: 'drop-oldest' | 'block' | undefined;
  /** Bytes of unread output kept. Default 64K. */
  buffer?: Size | undefined;
}

export type BootOptions =
  | {
      /** A bzImage, an ELF kernel, or a unified kernel image, which brings its initrd and command line. */
      kernel: Path;
      /** Comes behind the initrd of a unified kernel image. */
      initrd?: Path | undefined;
      /** Default: none; a unified kernel image's own, with the console. */
      cmdline?: string | undefined;
    }
  | {
      /** Which of `disks` to boot; default 0. */
      disk?: number | undefined;
      /** An entry's number from 1, its title or its id; default what the disk itself would boot. */
      entry?: number | string | undefined;
      /** Appended to the command line that the disk asks for. */
      append?: string | undefined;
    };

export interface VmOptions {
  name?: string | undefined;
  /** Default 512M. */
  memory?: Size | MemoryOptions | undefined;
  /** vCPUs; default 1, or what `topology` makes. */
  cpus?: number | undefined;
  /** How a guest sees them; default one socket of `cpus` cores with one thread each. */
  topology?: TopologyOptions | undefined;
  cpu?: 'host' | { model?: string | undefined; add?: string[] | undefined; remove?: string[] | undefined } | undefined;
  /** Default: the first disk, by what it carries in /boot. */
  boot?: BootOptions | undefined;
  disks?: (Path | DiskOptions | Disk)[] | undefined;
  console?: ConsoleOptions | undefined;
  /**
   * How the guest reaches its devices: `pci` (default), which stock kernels have, or `mmio`, for kernels built for microVMs;
   * up to 15 devices, no PCI bus.
   */
  transport?: Transport | undefined;
  /** What a guest's reboot does; default `reboot`. */
  onReboot?: 'reboot' | 'exit' | undefined;
  /** `own`: an I/O worker for this machine alone; default `shared` by all machines of the program. */
  ioWorker?: 'shared' | 'own' | undefined;
  logger?: Logger | undefined;
  /** For the machine's whole life, as in child_process.spawn: abort kills it; `start` rejects with its reason. */
  signal?: AbortSignal | undefined;
}

export type BootConfig =
  | {
      readonly kind: 'kernel';
      readonly kernel: string;
      readonly initrd: string | undefined;
      readonly cmdline: string | undefined;
    }
  | {
      readonly kind: 'disk';
      readonly disk: number;
      readonly entry: number | string | undefined;
      readonly append: string;
    };

/** `VmOptions` with every default filled in and every value checked. */
export interface VmConfig {
  readonly name: string;
  readonly memory: MemoryConfig;
  readonly topology: CpuTopology;
  readonly cpu: CpuChoice;
  readonly boot: BootConfig;
  readonly disks: readonly Disk[];
  readonly console: {
    readonly device: 'serial' | 'virtio';
    readonly whenUnread: 'drop-oldest' | 'block';
    readonly buffer: number;
  };
  readonly transport: Transport;
  readonly onReboot: 'reboot' | 'exit';
  readonly ioWorker: 'shared' | 'own';
  readonly logger: Logger | undefined;
  readonly signal: AbortSignal | undefined;
}

const maxName = 64;
export const minConsoleBuffer = 4096;
const maxConsoleBuffer = 256 * 1024 ** 2;
const logLevels = ['debug', 'info', 'warn', 'error'] as const;
let unnamed = 0;

export function normalize(options: VmOptions): VmConfig {
  if (!hasOptions(options)) throw bad('options are missing', 'pass { disks: ["disk.img"] }');
  known('options', options, [
    'name',
    'memory',
    'cpus',
    'topology',
    'cpu',
    'boot',
    'disks',
    'console',
    'transport',
    'onReboot',
    'ioWorker',
    'logger',
    'signal',
  ]);
  const disks = diskList(options.disks ?? []);
  return {
    name: name(options.name),
    memory: memory(options.memory ?? '512M'),
    topology: topology(options.cpus, options.topology),
    cpu: cpu(options.cpu ?? 'host'),
    boot: boot(options.boot ?? {}, disks.length),
    disks,
    console: consoleConfig(options.console ?? {}),
    transport: oneOf('transport', options.transport ?? 'pci', transports),
    onReboot: oneOf('onReboot', options.onReboot ?? 'reboot', ['reboot', 'exit']),
    ioWorker: oneOf('ioWorker', options.ioWorker ?? 'shared', ['shared', 'own']),
    logger: logger(options.logger),
    signal: signal(options.signal),
  };
}

const name = (value: unknown): string => (value === undefined ? `vm${++unnamed}` : machineName(value));

export function machineName(value: unknown): string {
  const given = text('name', value);
  if (given.length <= maxName && /^[A-Za-z0-9][A-Za-z0-9._-]*$/.test(given)) return given;
  throw bad(`name: ${show(value)} cannot be a name`, `use letters, digits, ".", "_" and "-", at most ${maxName}`);
}

export function boot(value: BootOptions, disks: number): BootConfig {
  if (!hasOptions(value)) throw bad('boot: expected options', 'pass { kernel } or { disk }');
  if ('kernel' in value) {
    known('boot', value, ['kernel', 'initrd', 'cmdline']);
    const initrd = value.initrd === undefined ? undefined : path('boot.initrd', value.initrd);
    return {
      kind: 'kernel',
      kernel: path('boot.kernel', value.kernel),
      initrd,
      cmdline: value.cmdline === undefined ? undefined : text('boot.cmdline', value.cmdline),
    };
  }
  known('boot', value, ['disk', 'entry', 'append']);
  if (disks === 0) throw bad('there is nothing to boot', 'pass disks: ["disk.img"] or boot: { kernel: "vmlinuz" }');
  const { entry } = value;
  if (entry !== undefined && typeof entry !== 'string') integer('boot.entry', entry, 1, 10_000);
  return {
    kind: 'disk',
    disk: integer('boot.disk', value.disk ?? 0, 0, disks - 1),
    entry,
    append: text('boot.append', value.append ?? ''),
  };
}

function consoleConfig(value: ConsoleOptions): VmConfig['console'] {
  if (!hasOptions(value)) throw bad('console: expected options', 'pass { device, whenUnread, buffer }');
  known('console', value, ['device', 'whenUnread', 'buffer']);
  const { device = 'serial', whenUnread = 'drop-oldest', buffer = '64K' } = value;
  return { device: oneOf('console.device', device, ['serial', 'virtio']), ...consoleReader(whenUnread, buffer) };
}

const consoleReader = (whenUnread: unknown, buffer: Size) => ({
  whenUnread: oneOf('console.whenUnread', whenUnread, ['drop-oldest', 'block']),
  buffer: integer('console.buffer', parseSize('console.buffer', buffer), minConsoleBuffer, maxConsoleBuffer),
});

/** Of a machine that goes on: what is not said is as it was, and the device is what its guest has a driver for. */
export function changedConsole(value: ConsoleReaderOptions, before: VmConfig['console']): VmConfig['console'] {
  if (!hasOptions(value)) throw bad('console: expected options', 'pass { whenUnread, buffer }');
  known('console', value, ['whenUnread', 'buffer']);
  return { ...before, ...consoleReader(value.whenUnread ?? before.whenUnread, value.buffer ?? before.buffer) };
}

export function signal(value: unknown): AbortSignal | undefined {
  if (value === undefined || value instanceof AbortSignal) return value;
  throw bad('signal: expected an AbortSignal', 'pass controller.signal');
}

export function logger(value: unknown): Logger | undefined {
  if (value === undefined) return undefined;
  const missing = logLevels.find((level) => typeof (value as Partial<Logger> | null)?.[level] !== 'function');
  if (missing === undefined) return value as Logger;
  throw bad(
    `logger: it has no function "${missing}"`,
    `pass one with ${logLevels.join(', ')}, such as console or pino()`,
  );
}
