/**
 * What the kernel and shared memory hold of one power cycle: guest RAM, the KVM machine, machine state, eventfds. Main
 * thread.
 *
 * Made in the order of docs/decisions/0001-order-of-creation.md; each part is registered for closing as soon as it exists.
 */

import { hostClocks } from '../devices/clocks.js';
import { generationId, gsi, kvmIdentityMap, kvmTss } from '../devices/memory-map.js';
import type { SetLine } from '../devices/wires.js';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Doorbell } from '../host/doorbell.js';
import { entropy } from '../host/random.js';
import { type ClockPolicy, loadClock } from '../kvm/clock-save.js';
import type { Kvm } from '../kvm/kvm.js';
import { buildRouting } from '../kvm/routing.js';
import { noteStop } from '../kvm/vcpu.js';
import { loadVcpu, type VcpuSaveFacts } from '../kvm/vcpu-save.js';
import { KvmVm } from '../kvm/vm.js';
import { loadVm } from '../kvm/vm-save.js';
import { type MachineControl, MachineControlMap } from '../memory/control.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { presentRuns } from '../memory/pagemap.js';
import { GuestRam, type HugePages } from '../memory/ram.js';
import { giveShared, takeShared } from '../memory/shared-pool.js';
import { reviveConsole } from '../virtio/console/console-state.js';
import { bindVirtio, type VirtioDescriptors } from '../virtio/registers.js';
import { interruptTargets, resetPlatform, reviveDevices, reviveLines } from '../virtio/transport/platform-layout.js';
import { msiRoutes } from '../virtio/transport/routes.js';
import { EventFds } from './descriptors.js';
import type { MachineImage } from './machine-image.js';
import type { Ownership } from './ownership.js';
import type { MachinePlan } from './plan.js';
import type { MemoryRange } from './prefault.js';

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
}

export class Hardware {
  readonly plan: MachinePlan;
  readonly vm: KvmVm;
  readonly ram: GuestRam;
  readonly regions: readonly RamRegion[];
  readonly state: SharedArrayBuffer;
  readonly control: MachineControl;
  /** Rings for console output, events and failed memory. */
  readonly doorbell: Doorbell;
  readonly descriptors: readonly VirtioDescriptors[];
  #keptBattery: Battery | undefined;

  constructor(
    kvm: Kvm,
    plan: MachinePlan,
    hugepages: HugePages,
    { battery, image }: Origin,
    owned: Ownership,
    onRing: () => void,
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
    const vm = KvmVm.create(kvm);
    owned.own('KVM machine', () => vm.closeLater());
    this.vm = vm;
    vm.reservePages(kvmTss.start, kvmIdentityMap.start);
    this.regions.forEach(({ start, size, hostAddress }, slot) => {
      vm.setMemoryRegion(slot, start, size, hostAddress);
    });
    vm.createIrqchip();
    vm.createPit();

    if (image === undefined) this.#reset(battery);
    else this.#take(image);

    const { platform } = plan;
    const doorbell = new Doorbell(onRing);
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

  /** What KVM has of the machine of then, in the order of contract §3.3. The vCPUs exist, and none has run. */
  load({ parts }: MachineImage, vcpuFds: readonly number[], clock: ClockPolicy, facts: VcpuSaveFacts): void {
    const { fd } = this.vm;
    const elapsedNs = loadClock(fd, vcpuFds, parts.clock, clock);
    vcpuFds.forEach((vcpu, cpu) => {
      loadVcpu(vcpu, parts.vcpus[cpu]!, facts);
      noteStop(vcpu);
    });
    loadVm(fd, parts.vm);
    const setLine: SetLine = (gsi, level) => void this.vm.setIrqLine(gsi, level);
    const { platform } = this.plan;
    const targets = interruptTargets(this.state, platform, { virtio: this.descriptors }, setLine);
    reviveLines(this.state, platform, targets, setLine, { ns: hostClocks().monotonicNs(), elapsedNs });
    native().ring(this.doorbell.fd); // main plans the interrupts of the clock
    this.#renewGeneration();
  }

  /** Another machine goes on from there, too: a driver is told before the guest draws anything that must not repeat (trap T41). */
  #renewGeneration(): void {
    const [low] = this.regions;
    native().copyIn(low!.hostAddress + generationId.start, entropy(generationId.size));
    this.vm.setIrqLine(gsi.events, 1);
    this.vm.setIrqLine(gsi.events, 0);
  }

  /** Routes, as the drivers have set them, and irqfds, once the vCPUs exist. */
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
