/**
 * A machine in a snapshot: what its manifest says of it, which sections its state is, and the way back. Main thread.
 *
 * All of it may come from a stranger: the form is checked here, sizes before anything is made; what KVM and the devices make of
 * values is theirs to bear, as it is a guest's to write them (trap T49).
 */
import { resolve } from 'node:path';
import { type Transport, transports } from '../devices/memory-map.js';
import { decodeClock, encodeClock } from '../kvm/clock-save.js';
import { encodeCpuid, parseCpuid } from '../kvm/cpuid-entry.js';
import { KvmCpuidEntry2 } from '../kvm/structs.js';
import { checkVcpuSave, type VcpuPart, type VcpuSave, type VcpuSaveFacts, vcpuParts } from '../kvm/vcpu-save.js';
import { checkVmSave, type VmSave, vmParts } from '../kvm/vm-save.js';
import { sizeOf } from '../snapshot/manifest.js';
import { mappable, releaseAll } from '../snapshot/mappable.js';
import type { OpenSnapshot } from '../snapshot/open-snapshot.js';
import {
  boolean,
  type Check,
  type Checked,
  integer,
  list,
  object,
  oneOf,
  optional,
  text,
  variant,
} from '../snapshot/schema.js';
import { damaged, unusable } from '../snapshot/snapshot-error.js';
import type { PlatformShape } from '../virtio/transport/platform.js';
import { maxCpus } from './cpu-options.js';
import { MachineImage } from './machine-image.js';
import type { VmConfig } from './options.js';
import { type SavedDrive, savedDrive } from './saved-disks.js';

/**
 * Of the layout of machine state: another one cannot be read. test/unit/machine/saved-machine.test.ts says when it is another.
 */
export const stateVersion = 1;

const name = text(/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/, 'the name of a machine');
const words = text(/^[^\0]{0,65536}$/s, 'text');
const file = text(/^\/[^\0]{0,4095}$/, 'an absolute path');
const feature = text(/^[A-Za-z0-9_.-]{1,64}$/, 'the name of a CPU feature');
const count = integer(1, maxCpus);
/** An entry to boot is a number or a name. */
const entry: Check<number | string> = (value, at) =>
  typeof value === 'number' ? integer(1, 10_000)(value, at) : words(value, at);

const word = integer(0, 0xffff_ffff);
const device = object({
  name: text(/^[a-z0-9-]{1,32}$/, 'the name of a device'),
  deviceType: word,
  queueSizes: list(word, 1024),
  features: list(word, 2, 2),
  configSize: word,
  writableConfig: list(word, 4096),
});

/** Compared with that of the machine that is made (plan.ts). */
const shape = object({
  cpus: count,
  ram: integer(1, Number.MAX_SAFE_INTEGER),
  physicalBits: integer(1, 64),
  transport: oneOf<Transport>(...transports),
  virtio: list(device, 64),
  serial: object({ outputCapacity: word, blockWhenFull: boolean }),
  debugExit: boolean,
});

const description = object({
  stateVersion: integer(1, 1_000_000),
  name,
  hugepages: oneOf('thp', 'off'),
  topology: object({ sockets: count, cores: count, threads: count }),
  cpu: object({ model: feature, add: list(feature, 512), remove: list(feature, 512) }),
  boot: variant({
    kernel: { kernel: file, initrd: optional(file), cmdline: optional(words) },
    disk: { disk: integer(0, 63), entry: optional(entry), append: words },
  }),
  console: object({
    device: oneOf('serial', 'virtio'),
    whenUnread: oneOf('drop-oldest', 'block'),
    buffer: integer(4096, 256 * 1024 ** 2),
  }),
  transport: oneOf<Transport>(...transports),
  onReboot: oneOf('reboot', 'exit'),
  /** How it had each of its disks. */
  drives: list(savedDrive, 64),
  shape,
});
export type SavedDescription = Checked<typeof description>;

export function describe(config: VmConfig, { parts }: MachineImage, drives: readonly SavedDrive[]): SavedDescription {
  const { memory, topology, cpu, console, transport, onReboot } = config;
  if (memory.hugepages === 'hugetlb') throw new Error('memory that cannot be frozen is described');
  return JSON.parse(
    JSON.stringify({
      ...{
        stateVersion,
        name: config.name,
        hugepages: memory.hugepages,
        topology,
        cpu,
        boot: absolute(config.boot),
        console,
        transport,
        onReboot,
      },
      drives,
      shape: parts.shape,
    }),
  ) as SavedDescription;
}

/** It may be restored elsewhere. */
const absolute = (boot: VmConfig['boot']): VmConfig['boot'] =>
  boot.kind === 'disk'
    ? boot
    : { ...boot, kernel: resolve(boot.kernel), initrd: boot.initrd === undefined ? undefined : resolve(boot.initrd) };

const vcpuSection = (cpu: number, part: VcpuPart): string => `vcpu${cpu}.${part}`;

export function sectionsOf({ parts }: MachineImage): Map<string, Uint8Array> {
  const sections = new Map<string, Uint8Array>([
    ['cpuid', encodeCpuid(parts.cpuid)],
    ['machine-state', new Uint8Array(parts.state)],
    ['clock', encodeClock(parts.clock)],
  ]);
  for (const part of vmParts) sections.set(part, parts.vm[part]);
  parts.vcpus.forEach((vcpu, cpu) => {
    for (const part of vcpuParts) sections.set(vcpuSection(cpu, part), vcpu[part]);
  });
  return sections;
}

/** What the manifest says of the machine; `ERR_TSVMM_SNAPSHOT` for what this version cannot read. */
export function readDescription(snapshot: OpenSnapshot): SavedDescription & { readonly memory: number } {
  const saved = snapshot.machine(description);
  if (saved.stateVersion !== stateVersion)
    throw unusable(
      snapshot.directory,
      `its machine state is of version ${saved.stateVersion}, this tsvmm knows ${stateVersion}`,
      `use the tsvmm that wrote it: ${snapshot.manifest.tsvmm}`,
    );
  return { ...saved, memory: sizeOf(snapshot.manifest.memory.regions) };
}

/** Holds the snapshot's memory, unless that comes from elsewhere, and is released by the caller. */
export function readImage(
  snapshot: OpenSnapshot,
  { topology: { sockets, cores, threads }, shape }: SavedDescription,
  facts: VcpuSaveFacts,
  memoryElsewhere = false,
): MachineImage {
  const cpus = sockets * cores * threads;
  const clock = decodeClock(snapshot.section('clock'), cpus);
  if (clock === undefined) throw damaged(snapshot.directory, 'its clocks are not those of its vCPUs');
  const vcpus = Array.from({ length: cpus }, (_, cpu) => {
    const save = Object.fromEntries(
      vcpuParts.map((part) => [part, snapshot.section(vcpuSection(cpu, part))]),
    ) as VcpuSave;
    checkVcpuSave(save, facts.xsaveBytes);
    return save;
  });
  const vm = Object.fromEntries(vmParts.map((part) => [part, snapshot.section(part)])) as VmSave;
  checkVmSave(vm);
  const cpuid = snapshot.section('cpuid');
  if (cpuid.length % KvmCpuidEntry2.size !== 0) throw damaged(snapshot.directory, 'its CPUID is not one that KVM has');
  const memory = memoryElsewhere ? [{ offset: 0, length: snapshot.memorySize }] : mappable(snapshot);
  try {
    const state = snapshot.section('machine-state').slice().buffer;
    return new MachineImage({
      ...{ cpuid: parseCpuid(cpuid), shape: shape as PlatformShape, state, vcpus, vm, clock, memory },
      regions: snapshot.manifest.memory.regions,
    });
  } finally {
    releaseAll(memory);
  }
}
