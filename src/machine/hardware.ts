/**
 * What the kernel and shared memory hold of one power cycle: guest RAM, the KVM machine, machine state, eventfds. Main
 * thread.
 *
 * The KVM machine begins as soon as there is memory for it; until it is made there is time for all the rest, and for the workers
 * of its vCPUs to build the code of its registers. What is made is registered for closing as soon as it exists.
 */

import { kvmIdentityMap, kvmTss } from '../devices/memory-map.js';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Doorbell } from '../host/doorbell.js';
import type { ClockPolicy } from '../kvm/clock-save.js';
import type { Kvm } from '../kvm/kvm.js';
import { buildRouting } from '../kvm/routing.js';
import { KvmVm } from '../kvm/vm.js';
import { machineCalls } from '../kvm/vm-making.js';
import { type MachineControl, MachineControlMap } from '../memory/control.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { presentRuns } from '../memory/pagemap.js';
import { GuestRam, type HugePages } from '../memory/ram.js';
import { giveShared, takeShared } from '../memory/shared-pool.js';
import { reviveConsole } from '../virtio/console/console-state.js';
import { bindVirtio, type VirtioDescriptors } from '../virtio/registers.js';
import { interruptTargets, resetPlatform, reviveDevices } from '../virtio/transport/platform-layout.js';
import { msiRoutes } from '../virtio/transport/routes.js';
import { EventFds } from './descriptors.js';
import type { MachineImage } from './machine-image.js';
import type { Ownership } from './ownership.js';
import type { SourcedMemory } from './page-source-options.js';
import type { MachinePlan } from './plan.js';
import type { MemoryRange } from './prefault.js';
import { SourceMemory } from './source-memory.js';

/** What the SIGBUS guard puts in place of a page that the host cannot supply. */
const guardPage = 4096;

/** What outlives a reset: CMOS RAM and the clock. */
export interface Battery {
  readonly rtc: Uint8Array;
}

/** What a machine begins with that is not new. */
export interface Origin {
  /** It was reset. */
  readonly battery?: Battery | undefined;
  /** It goes on as another was, its clocks by this policy. */
  readonly image?: MachineImage | undefined;
  readonly clock?: ClockPolicy | undefined;
  /** Of memory, before it is entered. */
  readonly prefault?: readonly MemoryRange[] | undefined;
  /** Memory comes from elsewhere. */
  readonly pages?: SourcedMemory | undefined;
}

export interface HardwareHooks {
  /** Console output, an event, memory that failed. */
  rung(): void;
  /** What memory there should be will not come. */
  failed(error: TsvmmError): void;
}

export class Hardware {
  readonly plan: MachinePlan;
  readonly vm = new KvmVm();
  readonly ram: GuestRam;
  readonly regions: readonly RamRegion[];
  /** Where memory comes from, if not all of it is there. */
  readonly source: SourceMemory | undefined;
  readonly state: SharedArrayBuffer;
  readonly control: MachineControl;
  /** Rings for console output, events and failed memory. */
  readonly doorbell: Doorbell;
  readonly descriptors: readonly VirtioDescriptors[];
  #keptBattery: Battery | undefined;

  /** The KVM machine is made meanwhile: see `KvmVm.made`. */
  constructor(
    kvm: Kvm,
    plan: MachinePlan,
    hugepages: HugePages,
    { battery, image, pages }: Origin,
    owned: Ownership,
    hooks: HardwareHooks,
  ) {
    this.plan = plan;
    this.state = takeShared(plan.stateSize);
    owned.own('machine state', () => {
      this.#keptBattery = this.battery; // for a reboot
      giveShared(this.state);
    });
    this.control = MachineControlMap.over(this.state, plan.control.machine);

    const size = plan.ram.reduce((sum, region) => sum + region.size, 0);
    const ram = GuestRam.map(size, image === undefined ? { hugepages } : { hugepages, pieces: image.parts.memory });
    owned.own('memory', () => ram.release());
    this.ram = ram;
    this.regions = ram.place(plan.ram);
    if (pages !== undefined) {
      const source = new SourceMemory(pages, this.regions, hooks.failed);
      owned.own('source of memory', () => source.close());
      this.source = source;
    }
    owned.own('KVM machine', () => this.vm.closeLater());
    this.vm.begin(kvm, machineCalls(kvmTss.start, kvmIdentityMap.start, this.regions));

    if (image === undefined) this.#reset(battery);
    else this.#take(image);

    const { platform } = plan;
    const doorbell = new Doorbell(hooks.rung);
    owned.own('doorbell', () => doorbell.close());
    this.doorbell = doorbell;
    const failedWord = native().addressOf(this.control.memoryFailed);
    const guard = native().guard(ram.hostAddress, ram.size, guardPage, failedWord, doorbell.fd);
    if (guard < 0) throw new TsvmmError('ERR_TSVMM_STATE', 'too many machines in this process for the memory guard');
    owned.own('memory guard', () => void native().unguard(guard));

    const fds = new EventFds();
    owned.own('eventfds', () => fds.close());
    this.descriptors = fds.forDevices(platform.shape.transport, platform.shape.virtio);
  }

  #reset(battery: Battery | undefined): void {
    const { platform, devices } = this.plan;
    if (battery !== undefined) new Uint8Array(this.state).set(battery.rtc, platform.chipset.rtc);
    resetPlatform(this.state, platform, battery !== undefined);
    devices.forEach(({ config }, i) => {
      bindVirtio(this.state, platform.virtio[i]!).config.set(config);
    });
  }

  /** All registers; what threads say to each other begins anew. */
  #take({ parts }: MachineImage): void {
    const { platform, control, devices } = this.plan;
    new Uint8Array(this.state).set(new Uint8Array(parts.state, control.end), control.end);
    reviveDevices(this.state, platform);
    for (const device of devices) if (device.kind === 'console') reviveConsole(this.state, device.layout);
  }

  /** Routes, as the drivers have set them, and irqfds. */
  connectInterrupts(): void {
    const { platform } = this.plan;
    const targets = interruptTargets(this.state, platform, { virtio: this.descriptors }, () => {});
    this.vm.setRouting(buildRouting(platform.pci === undefined ? [] : msiRoutes(targets)));
    for (const { vectors, gsi: first } of this.descriptors) {
      vectors.forEach((fd, vector) => {
        this.vm.assignIrqfd(fd, first + vector);
      });
    }
  }

  /** Pages that are there for this process: read or written, by whom does not matter. */
  touched(): MemoryRange[] {
    const ranges: MemoryRange[] = [];
    for (const { start: gpa, size, hostAddress } of this.regions)
      presentRuns(hostAddress, size, (start, end) => ranges.push({ start: gpa + start, size: end - start }));
    return ranges;
  }

  /** CMOS RAM and clock, for the next power cycle. */
  get battery(): Battery {
    if (this.#keptBattery !== undefined) return this.#keptBattery;
    const { rtc, i8042 } = this.plan.platform.chipset;
    return { rtc: new Uint8Array(this.state.slice(rtc, i8042)) };
  }
}

export const noPage = (cause?: unknown): TsvmmError =>
  new TsvmmError('ERR_TSVMM_GUEST', 'the host could not supply a page of guest memory (SIGBUS)', {
    hint: 'a file behind guest memory was truncated, or the host ran out of huge pages or met a disk error',
    cause,
  });
