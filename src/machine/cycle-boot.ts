/** From a machine's options and disks to what its memory begins with: the readers of a boot, opened and closed. Main thread. */
import type { BootImage } from '../boot/boot-image.js';
import { processorIdentity } from '../kvm/cpuid-entry.js';
import type { StartState } from '../kvm/start-state.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { allSettled } from './all-settled.js';
import { BootMemory } from './boot-memory.js';
import { prepareBoot } from './boot-prepare.js';
import type { DiskSet } from './disk-set.js';
import type { VmConfig } from './options.js';
import type { PhaseClock } from './phases.js';
import type { MachinePlan } from './plan.js';

/** Memory as the boot wants it. `problems`: what is wrong with the disk that is booted, few and short. */
export async function loadBoot(
  config: VmConfig,
  plan: MachinePlan,
  disks: DiskSet,
  regions: readonly RamRegion[],
  phases: PhaseClock,
  problems: (disk: number, problems: readonly string[]) => void,
  signal: AbortSignal,
): Promise<StartState> {
  const memory = new BootMemory(regions);
  try {
    const image = await prepare(config, plan, disks, memory, phases, problems, signal);
    signal.throwIfAborted();
    await phases.run('load', () => memory.load(image));
    return image.entry;
  } finally {
    memory.release();
  }
}

async function prepare(
  config: VmConfig,
  plan: MachinePlan,
  disks: DiskSet,
  memory: BootMemory,
  phases: PhaseClock,
  problems: (disk: number, problems: readonly string[]) => void,
  signal: AbortSignal,
): Promise<BootImage> {
  const opened: AsyncDisposable[] = [];
  const disk = async (index: number) => {
    const reader = await disks.openForBoot(index, signal);
    opened.push(reader);
    return reader;
  };
  try {
    const console = config.console.device === 'virtio' ? 'hvc0' : 'ttyS0';
    return await prepareBoot(
      {
        boot: config.boot,
        disk,
        memory,
        ram: plan.ram,
        apicIds: plan.apicIds,
        processor: processorIdentity(plan.cpuid),
        transport: config.transport,
        devices: plan.devices.length,
        bar64: plan.bar64,
        console,
        problems,
        signal,
      },
      phases,
    );
  } finally {
    await allSettled(opened.map(async (reader) => reader[Symbol.asyncDispose]()));
  }
}
