/**
 * From what the user asked to boot to the boot image: reads kernel and initrd, or finds them on the disk. Main thread.
 *
 * Runs again at every reboot, since the guest may have installed another kernel.
 */
import type { BootImage } from '../boot/boot-image.js';
import type { LoadTarget } from '../boot/disk-boot.js';
import { buildBootImage } from '../boot/linux/build.js';
import { buildAcpiTables } from '../boot/x86/acpi/tables.js';
import { buildMpTable } from '../boot/x86/mp-table.js';
import { generationId, type MemoryRegion, platformReserved, type Transport } from '../devices/memory-map.js';
import type { BlockReader } from '../disk/block-reader.js';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import { entropy } from '../host/random.js';
import { type Payload, readKernelFiles } from './kernel-files.js';
import type { BootConfig } from './options.js';
import type { PhaseClock } from './phases.js';

export interface BootRequest {
  readonly boot: BootConfig;
  /** Opens the disk that is to be booted, for reading; closed by the caller. */
  readonly disk: (index: number) => Promise<BlockReader>;
  /** Where a disk's kernel and initrd are read to. */
  readonly memory: LoadTarget;
  readonly ram: readonly MemoryRegion[];
  readonly apicIds: readonly number[];
  /** EAX and EDX of the guest's CPUID leaf 1. */
  readonly processor: { readonly signature: number; readonly features: number };
  readonly transport: Transport;
  /** How many virtio devices there are. */
  readonly devices: number;
  readonly bar64: MemoryRegion | undefined;
  /** The Linux name of the console that a disk's own command line is given. */
  readonly console: 'ttyS0' | 'hvc0';
  /** What is wrong with the disk, though something on it boots: at most `mostProblems`, none of them long. */
  readonly problems: (disk: number, problems: readonly string[]) => void;
  /** Ends looking at the disk and reading from it; what it rejects with then is the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

const mostProblems = 8;
const problemLength = 300;

export async function prepareBoot(request: BootRequest, phases: PhaseClock): Promise<BootImage> {
  const { apicIds, boot, transport, ram, bar64 } = request;
  const payload =
    boot.kind === 'kernel'
      ? await phases.run('read kernel', () => readKernelFiles(boot, request.console))
      : await readFromDisk(boot, request, phases);
  const announced = transport === 'pci' ? { ...payload, virtioMmio: 0 } : await announceMmio(payload, request.devices);
  return phases.run('build boot image', () => {
    try {
      return buildBootImage({
        ...payload,
        cmdline: announced.cmdline,
        ram,
        reserved: platformReserved[transport],
        acpi: buildAcpiTables({
          ...{ apicIds, transport, virtioMmio: announced.virtioMmio, bar64 },
          generation: entropy(generationId.size),
        }),
        mpTable: buildMpTable({ apicIds, ...request.processor, transport }),
      });
    } catch (error) {
      if (boot.kind === 'kernel' && error instanceof TsvmmError && error.code === 'ERR_TSVMM_BOOT_KERNEL')
        error.message = `${quote(boot.kernel)}: ${error.message}`;
      throw error;
    }
  });
}

/** By the DSDT, or by the command line where it turns ACPI off; never by both, or a guest finds every device twice. */
async function announceMmio({ cmdline }: Payload, devices: number): Promise<{ cmdline: string; virtioMmio: number }> {
  const { disablesAcpi, withMmioWords } = await import('../boot/mmio-words.js');
  return disablesAcpi(cmdline)
    ? { cmdline: withMmioWords(cmdline, devices), virtioMmio: 0 }
    : { cmdline, virtioMmio: devices };
}

type BootFrom<K extends BootConfig['kind']> = Extract<BootConfig, { kind: K }>;

async function readFromDisk(boot: BootFrom<'disk'>, request: BootRequest, phases: PhaseClock): Promise<Payload> {
  // Partitions, file systems and boot loaders: only who boots from a disk reads that code.
  const [{ chooseEntry, findBootEntries, loadEntry }, { guestCmdline }, { shortened }, reader] = await Promise.all([
    import('../boot/disk-boot.js'),
    import('../boot/cmdline.js'),
    import('../boot/entries/printable.js'),
    request.disk(boot.disk),
  ]);
  const inspection = await phases.run('inspect disk', () => findBootEntries(reader, { signal: request.signal }));
  const chosen = chooseEntry(inspection, boot.entry); // says what is wrong itself if there is nothing to boot
  const problems = inspection.problems.slice(0, mostProblems).map((problem) => shortened(problem, problemLength));
  const more = inspection.problems.length - problems.length;
  if (more > 0) problems[mostProblems - 1] = `${more + 1} more problems, which tsvmm image inspect shows`;
  request.problems(boot.disk, problems);
  const entry = await phases.run('read kernel', () => loadEntry(inspection, chosen, request.memory));
  return { ...entry, cmdline: guestCmdline(entry.cmdline, { console: request.console, append: boot.append }) };
}
