/**
 * Restoring a machine from a snapshot: everything that could be wrong with it is looked at before anything is made (traps T43,
 * T49). Main thread.
 */
import { isDeepStrictEqual } from 'node:util';
import { ramRegions } from '../devices/memory-map.js';
import { TsvmmError } from '../errors.js';
import { missingOnHost } from '../kvm/cpu-fit.js';
import type { RamPiece } from '../memory/ram.js';
import { openSnapshot } from '../snapshot/load-snapshot.js';
import type { OpenSnapshot } from '../snapshot/open-snapshot.js';
import { damaged } from '../snapshot/snapshot-error.js';
import { bad, hasOptions, known, type Path, path } from './checks.js';
import { type ReviveOptions, reviveConfig, reviveOptionNames } from './fork.js';
import type { Origin } from './hardware.js';
import { kvmContext } from './kvm-context.js';
import type { MachineImage } from './machine-image.js';
import { minMemory } from './memory-options.js';
import { type BootOptions, boot, signal, type VmConfig } from './options.js';
import { inRegions, type PageSource, type PageSourceConfig, pageSource } from './page-source-options.js';
import { type MemoryRange, memoryRanges } from './prefault.js';
import { restoredDisks } from './saved-disks.js';
import { readDescription, readImage, type SavedDescription } from './saved-machine.js';
import { Snapshot } from './snapshot.js';

export interface RestoreOptions extends ReviveOptions {
  /** For the machine's whole life, as in `VmOptions`. */
  signal?: AbortSignal | undefined;
  /**
   * What is faulted in before the guest goes on, so that it does not wait for each page: what `vm.memory.touched()` gave of
   * another machine of this snapshot after it had done what this one is to do.
   */
  prefault?: readonly MemoryRange[] | undefined;
  /**
   * Where memory comes from instead of the snapshot's own file, which need not be there: the guest goes on at once, and waits
   * for what it touches until this has supplied it. A fork or a snapshot of the machine waits for all of it.
   */
  pages?: PageSource | PageSource['read'] | undefined;
  /**
   * What a reset of the guest boots. Default: its disk, if it was booted from one; else a reset is the machine's end, since the
   * kernel that a snapshot names would be a file of this host that somebody else has chosen.
   */
  boot?: BootOptions | undefined;
}

/** A machine that can be made; disposed of when it is. */
export interface Restored extends AsyncDisposable {
  readonly config: VmConfig;
  readonly origin: Origin;
  readonly snapshot: OpenSnapshot;
  readonly pieces: readonly RamPiece[];
}

export async function openRestored(from: Path | Snapshot, options: RestoreOptions): Promise<Restored> {
  if (!hasOptions(options)) throw bad('restore: expected options', 'pass { clock }, or nothing');
  known('restore', options, ['signal', 'prefault', 'boot', 'pages', ...reviveOptionNames]);
  signal(options.signal)?.throwIfAborted();
  const source = options.pages === undefined ? undefined : pageSource(options.pages);
  const isOurs = !(from instanceof Snapshot);
  const snapshot = isOurs
    ? await openSnapshot(path('restore', from), { memoryElsewhere: source !== undefined })
    : from.opened;
  try {
    const restored = await prepare(snapshot, isOurs, options, source);
    return { ...restored, [Symbol.asyncDispose]: () => close(restored, isOurs ? snapshot : undefined) };
  } catch (error) {
    if (isOurs) await snapshot[Symbol.asyncDispose]();
    throw error;
  }
}

async function close(
  { origin }: Omit<Restored, typeof Symbol.asyncDispose>,
  own: OpenSnapshot | undefined,
): Promise<void> {
  origin.image!.release();
  await own?.[Symbol.asyncDispose]();
}

interface SavedMachine {
  readonly saved: SavedDescription & { readonly memory: number };
  readonly image: MachineImage;
}

/** Of snapshots that a program has opened, from which it may restore many machines: each goes with its snapshot. */
const opened = new WeakMap<OpenSnapshot, SavedMachine>();

/** Checked, and that this host will do. Holds its image, which is released by the caller. */
function savedMachine(snapshot: OpenSnapshot, memoryElsewhere: boolean): SavedMachine {
  const saved = readDescription(snapshot);
  if (!isDeepStrictEqual(snapshot.manifest.memory.regions, ramRegions(saved.memory)))
    throw damaged(snapshot.directory, 'its memory does not lie where that of a machine does');
  if (saved.memory < minMemory) throw damaged(snapshot.directory, 'no machine has as little memory');
  const context = kvmContext();
  const image = readImage(snapshot, saved, context.saveFacts(), memoryElsewhere);
  const missing = missingOnHost(image.parts.cpuid, context.offered());
  if (missing.length === 0) return { saved, image };
  image.release();
  throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `the guest uses what this host cannot give it: ${missing.join(', ')}`, {
    hint: 'restore it on a host with the processor that it ran on, or take the snapshot of a machine with an older CPU model (cpu: "x86-64-v3")',
    details: { missing },
  });
}

/** The same; looked at once. */
function savedOnce(snapshot: OpenSnapshot): SavedMachine {
  let machine = opened.get(snapshot);
  if (machine === undefined) {
    machine = savedMachine(snapshot, false);
    const { image } = machine;
    snapshot.onClose(() => image.release());
    opened.set(snapshot, machine);
  }
  snapshot.assertOpen();
  machine.image.hold();
  return machine;
}

async function prepare(
  snapshot: OpenSnapshot,
  isOurs: boolean,
  options: RestoreOptions,
  source: PageSourceConfig | undefined,
): Promise<Omit<Restored, typeof Symbol.asyncDispose>> {
  const { saved, image } =
    isOurs || source !== undefined ? savedMachine(snapshot, source !== undefined) : savedOnce(snapshot);
  try {
    const { regions } = snapshot.manifest.memory;
    const revive = reviveConfig(options, saved.drives.length, saved.console);
    const prefault = options.prefault && memoryRanges(options.prefault, regions);
    const reboot = options.boot && { boot: boot(options.boot, saved.drives.length), onReboot: 'reboot' as const };
    const disks = await restoredDisks(snapshot, saved.drives, revive.disks);
    const { console, logger } = revive;
    const own = { name: revive.name ?? saved.name, disks, console, logger, signal: signal(options.signal) };
    const pages = source && { source, ranges: inRegions(snapshot.ranges, regions) };
    // Who serves its devices waits for its memory: no other machine shall wait with it.
    const ioWorker = pages === undefined ? 'shared' : 'own';
    const config = { ...configOf(saved), ...own, ...reboot, ioWorker } as const;
    return { config, origin: { image, clock: revive.clock, prefault, pages }, snapshot, pieces: image.parts.memory };
  } catch (error) {
    image.release();
    throw error;
  }
}

function configOf(
  saved: SavedDescription & { readonly memory: number },
): Omit<VmConfig, 'name' | 'disks' | 'console' | 'logger' | 'signal' | 'ioWorker'> {
  const { boot, topology, cpu, transport } = saved;
  return {
    memory: { size: saved.memory, hugepages: saved.hugepages, prefault: false },
    ...{ topology, cpu, transport },
    boot:
      boot.kind === 'kernel'
        ? { kind: 'kernel', kernel: boot.kernel, initrd: boot.initrd, cmdline: boot.cmdline }
        : { kind: 'disk', disk: boot.disk, entry: boot.entry, append: boot.append },
    onReboot: boot.kind === 'kernel' ? 'exit' : saved.onReboot,
  };
}
