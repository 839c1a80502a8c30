/**
 * What a machine consists of, decided before anything is made: CPUID, devices, and where their state lies. Main thread;
 * pure but for the KVM facts it is given.
 */
import { isDeepStrictEqual } from 'node:util';
import type { MemoryRegion } from '../devices/memory-map.js';
import { bar64Window, endOf, ramRegions } from '../devices/memory-map.js';
import { TsvmmError } from '../errors.js';
import { apicIds } from '../kvm/cpu-topology.js';
import { cpuidPolicy } from '../kvm/cpuid.js';
import { type CpuidEntry, physicalAddressBits } from '../kvm/cpuid-entry.js';
import { type ControlLayout, layoutControl } from '../memory/control.js';
import { blkConfig, blkShape } from '../virtio/blk/blk-format.js';
import { consoleConfig, consoleShape } from '../virtio/console/console-format.js';
import { type ConsoleLayout, layoutConsole } from '../virtio/console/console-state.js';
import type { VirtioShape } from '../virtio/registers.js';
import { rngShape } from '../virtio/rng/rng.js';
import { layoutPlatform, type PlatformLayout, type PlatformShape } from '../virtio/transport/platform.js';
import type { Disk } from './disk.js';
import type { KvmContext } from './kvm-context.js';
import type { MachineImage } from './machine-image.js';
import { minConsoleBuffer, type VmConfig } from './options.js';

/** One virtio device: what its driver sees, and what its data path is made from. */
export type DevicePlan = { readonly shape: VirtioShape; readonly config: Uint8Array } & (
  | { readonly kind: 'blk'; readonly disk: Disk; readonly readOnly: boolean }
  | { readonly kind: 'rng' }
  | { readonly kind: 'console'; readonly layout: ConsoleLayout }
);

export interface MachinePlan {
  /** Of each vCPU: its number in KVM, in CPUID and in the tables. Ascending, maybe with gaps. */
  readonly apicIds: readonly number[];
  readonly cpuid: readonly CpuidEntry[];
  readonly ram: readonly MemoryRegion[];
  readonly bar64: MemoryRegion | undefined;
  readonly devices: readonly DevicePlan[];
  readonly control: ControlLayout;
  readonly platform: PlatformLayout;
  /** Bytes of machine state. */
  readonly stateSize: number;
}

/** A terminal that nobody has told us the size of. */
const defaultColumns = 80;
const defaultRows = 24;
const maxRing = 64 * 1024;
/** Of all disks together. */
const maxDiskQueues = 512;

/** With an `image`, a machine that can go on as that was: `ERR_TSVMM_SNAPSHOT` if there can be none. */
export function planMachine(
  config: VmConfig,
  disks: readonly Disk[],
  context: KvmContext,
  image?: MachineImage,
): MachinePlan {
  const ids = apicIds(config.topology);
  checkVcpus(ids, context);
  const cpuid = image?.parts.cpuid ?? cpuidPolicy(context.supported, config.cpu, config.topology, context.tscDeadline);
  const physicalBits = physicalAddressBits(cpuid);
  const ram = ramRegions(config.memory.size);
  const ramEnd = endOf(ram.at(-1)!);
  if (ramEnd > 2 ** physicalBits) {
    throw new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `memory: a guest on this CPU has ${physicalBits} address bits, too few for that much`,
      {
        hint: 'ask for less memory',
      },
    );
  }
  const outputCapacity = image === undefined ? ringCapacity(config) : savedCapacity(image.parts.shape);
  const output = { blockWhenFull: config.console.whenUnread === 'block', outputCapacity };
  const control = layoutControl(ids.length, 0);
  const console = config.console.device === 'virtio' ? layoutConsole(control.end, output) : undefined;
  const queues = queuesPerDisk(ids.length, disks.length);
  const devices = [
    ...disks.map((disk, index) => blkPlan(disk, index, queues)),
    rngPlan,
    ...(console === undefined ? [] : [consolePlan(console)]),
  ];
  const platform = layoutPlatform(
    {
      cpus: ids.length,
      ram: config.memory.size,
      physicalBits,
      transport: config.transport,
      virtio: devices.map(({ shape }) => shape),
      serial: output,
      debugExit: true,
    },
    console?.end ?? control.end,
  );
  if (image !== undefined) checkShape(image.parts.shape, platform.shape);
  const bar64 = bar64Window(ramEnd, physicalBits);
  if (image !== undefined && image.parts.state.byteLength !== platform.end)
    throw foreign(`the state of the machine has ${image.parts.state.byteLength} bytes, and not ${platform.end}`);
  return { apicIds: ids, cpuid, ram, bar64, devices, control, platform, stateSize: platform.end };
}

/** A driver knows its device as it was: another kind of device, or another set of features, would be a surprise to it. */
function checkShape(then: PlatformShape, now: PlatformShape): void {
  const wrong =
    then.virtio.length !== now.virtio.length
      ? `it had ${then.virtio.length} devices, and would have ${now.virtio.length}`
      : then.virtio.flatMap((device, i) =>
          differences(device, now.virtio[i]!).map((what) => `${device.name}: another ${what}`),
        )[0];
  const other = wrong ?? differences(without(then), without(now)).map((what) => `another ${what}`)[0];
  if (other === undefined) return;
  throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `the machine cannot go on with other devices: ${other}`, {
    hint: 'give it as many disks as it had, each as writable and with blocks of the same size',
  });
}

/** Its virtio devices, and what becomes of output that nobody reads: its guest does not know. */
const without = (shape: PlatformShape): PlatformShape => ({
  ...shape,
  virtio: [],
  serial: { ...shape.serial, blockWhenFull: false },
});

function differences(then: object, now: object): string[] {
  const other = new Map(Object.entries(now));
  return Object.entries(then).flatMap(([key, value]) => (isDeepStrictEqual(value, other.get(key)) ? [] : [key]));
}

function checkVcpus(ids: readonly number[], { maxVcpus, maxVcpuId }: KvmContext): void {
  if (ids.length > maxVcpus) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `cpus: this host's KVM runs at most ${maxVcpus} vCPUs in a machine`, {
      hint: `ask for ${maxVcpus} or fewer`,
    });
  }
  if (ids.at(-1)! >= maxVcpuId) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', `topology: this host's KVM has APIC ids below ${maxVcpuId} only`, {
      hint: 'use counts of cores and threads that are powers of two, or fewer vCPUs',
    });
  }
}

/**
 * Bytes of output that wait for main: plenty, so that a main thread that is busy for a while loses nothing; but a guest
 * that is to wait for its reader waits when what the user asked for is full.
 */
function ringCapacity({ console }: VmConfig): number {
  if (console.whenUnread !== 'block') return maxRing;
  return 2 ** Math.floor(Math.log2(Math.min(console.buffer, maxRing)));
}

/** Rings are machine state: they stay as large as they were. */
function savedCapacity({ serial }: PlatformShape): number {
  const capacity = serial?.outputCapacity ?? 0;
  if (capacity >= minConsoleBuffer && capacity <= maxRing && Number.isInteger(Math.log2(capacity))) return capacity;
  throw foreign(`its console has room for ${capacity} bytes, as no machine's has`);
}

const foreign = (what: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_SNAPSHOT', what, {
    hint: 'the snapshot is damaged, or another program made it: take another one',
  });

/** One for each vCPU, while there are few: a doorbell is a device on KVM's bus, which has 1000 at most (NR_IOBUS_DEVS). */
const queuesPerDisk = (cpus: number, disks: number): number =>
  Math.max(1, Math.min(cpus, Math.floor(maxDiskQueues / Math.max(disks, 1))));

function blkPlan(disk: Disk, index: number, queues: number): DevicePlan {
  const options = { name: `disk${index}`, ...disk.tell(), queues };
  return { kind: 'blk', shape: blkShape(options), config: blkConfig(options), disk, readOnly: options.readOnly };
}

const rngPlan: DevicePlan = { kind: 'rng', shape: rngShape('rng'), config: new Uint8Array(0) };

const consolePlan = (layout: ConsoleLayout): DevicePlan => ({
  kind: 'console',
  shape: consoleShape('console'),
  config: consoleConfig(defaultColumns, defaultRows),
  layout,
});
