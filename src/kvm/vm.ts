/**
 * One KVM machine: its descriptor and everything that is asked of it. Any thread of the process that made it.
 *
 * Order of creation (contract §3.1): memory, irqchip, PIT, vCPUs, routing, irqfds, ioeventfds. Memory set after the
 * irqchip costs 50 times as much, and KVM refuses an irqchip once a vCPU exists.
 */
import { native } from '../host/addon.js';
import { Errno } from '../host/errno.js';
import { closeFd, Sys } from '../host/system.js';
import { Ioctl } from './ioctls.js';
import { type Kvm, must } from './kvm.js';
import { KvmDirtyLog, KvmIoeventfd, KvmIrqfd, KvmIrqLevel, KvmPitConfig, KvmUserspaceMemoryRegion } from './structs.js';

const PIT_SPEAKER_DUMMY = 1;
const IRQFD_DEASSIGN = 1;
const IOEVENTFD_DATAMATCH = 1;
const IOEVENTFD_DEASSIGN = 4;
const matchedBytes = 4;
export const MEM_LOG_DIRTY_PAGES = 1;

/** `view.setBigUint64` without a BigInt, for an exact integer below 2^53. */
export function setU64(view: DataView, offset: number, value: number): void {
  view.setUint32(offset, value % 0x1_0000_0000, true);
  view.setUint32(offset + 4, Math.floor(value / 0x1_0000_0000), true);
}

export class KvmVm {
  #fd = -1;
  // Reused: these run on every interrupt level change.
  readonly #level = new Uint32Array(KvmIrqLevel.size / 4);

  /** -1 until there is a machine: what is asked of it fails with EBADF. */
  get fd(): number {
    return this.#fd;
  }

  create(kvm: Kvm): this {
    let fd: number;
    do {
      fd = native().openFd(Sys.ioctl, kvm.fd, Ioctl.KVM_CREATE_VM, 0);
    } while (fd === -Errno.EINTR); // a signal, a profiler's for one, while KVM takes the locks of our address space
    return this.adopt(must('KVM_CREATE_VM', fd));
  }

  /** A handle on a machine of another thread; the descriptor stays the creator's. */
  adopt(fd: number): this {
    this.#fd = fd;
    return this;
  }

  /** On this thread. */
  close(): void {
    closeFd(this.fd);
  }

  /** On libuv's thread pool: see docs/decisions/0002-closing-a-machine.md. Resolves when the machine is gone, if there was one. */
  async closeLater(): Promise<void> {
    if (this.fd >= 0) await native().closeFdLater(this.fd);
  }

  /** Three pages that VMX needs in guest-physical space below 4 GiB, and one for its identity map (KVM API §4.42, §4.91). */
  reservePages(tss: number, identityMap: number): void {
    const address = new DataView(new ArrayBuffer(8));
    setU64(address, 0, identityMap);
    must('KVM_SET_IDENTITY_MAP_ADDR', native().ioctl(this.fd, Ioctl.KVM_SET_IDENTITY_MAP_ADDR, address));
    must('KVM_SET_TSS_ADDR', native().ioctl(this.fd, Ioctl.KVM_SET_TSS_ADDR, tss));
  }

  /** Size 0 removes the slot. */
  setMemoryRegion(slot: number, guestAddress: number, size: number, hostAddress: number, flags = 0): void {
    const region = new DataView(new ArrayBuffer(KvmUserspaceMemoryRegion.size));
    const at = KvmUserspaceMemoryRegion.offset;
    region.setUint32(at.slot, slot, true);
    region.setUint32(at.flags, flags, true);
    setU64(region, at.guest_phys_addr, guestAddress);
    setU64(region, at.memory_size, size);
    setU64(region, at.userspace_addr, hostAddress);
    must('KVM_SET_USER_MEMORY_REGION', native().ioctl(this.fd, Ioctl.KVM_SET_USER_MEMORY_REGION, region));
  }

  /** Pages of a slot written since the last call, one bit each; the slot must have `MEM_LOG_DIRTY_PAGES`. */
  dirtyLog(slot: number, size: number): Uint8Array {
    const bitmap = new Uint8Array(Math.ceil(size / 4096 / 64) * 8);
    const request = new DataView(new ArrayBuffer(KvmDirtyLog.size));
    request.setUint32(KvmDirtyLog.offset.slot, slot, true);
    setU64(request, KvmDirtyLog.offset.dirty_bitmap, native().addressOf(bitmap));
    must('KVM_GET_DIRTY_LOG', native().ioctl(this.fd, Ioctl.KVM_GET_DIRTY_LOG, request));
    return bitmap;
  }

  createIrqchip(): void {
    must('KVM_CREATE_IRQCHIP', native().ioctl(this.fd, Ioctl.KVM_CREATE_IRQCHIP, 0));
  }

  /** The i8254, with port 0x61 answered by KVM so that guests can calibrate against it. */
  createPit(): void {
    const config = new DataView(new ArrayBuffer(KvmPitConfig.size));
    config.setUint32(KvmPitConfig.offset.flags, PIT_SPEAKER_DUMMY, true);
    must('KVM_CREATE_PIT2', native().ioctl(this.fd, Ioctl.KVM_CREATE_PIT2, config));
  }

  createVcpu(id: number): number {
    return must('KVM_CREATE_VCPU', native().openFd(Sys.ioctl, this.fd, Ioctl.KVM_CREATE_VCPU, id));
  }

  /** Level of a GSI. Result or -errno: this is called for a guest, and nothing a guest does throws. */
  setIrqLine(gsi: number, level: 0 | 1): number {
    this.#level[0] = gsi;
    this.#level[1] = level;
    return native().ioctl(this.fd, Ioctl.KVM_IRQ_LINE, this.#level);
  }

  /** Replaces the whole routing table, made by `buildRouting`. */
  setRouting(table: Uint8Array): void {
    must('KVM_SET_GSI_ROUTING', native().ioctl(this.fd, Ioctl.KVM_SET_GSI_ROUTING, table));
  }

  assignIrqfd(eventFd: number, gsi: number): void {
    const request = new DataView(new ArrayBuffer(KvmIrqfd.size));
    request.setUint32(KvmIrqfd.offset.fd, eventFd, true);
    request.setUint32(KvmIrqfd.offset.gsi, gsi, true);
    must('KVM_IRQFD', native().ioctl(this.fd, Ioctl.KVM_IRQFD, request));
  }

  deassignIrqfd(eventFd: number, gsi: number): void {
    const request = new DataView(new ArrayBuffer(KvmIrqfd.size));
    request.setUint32(KvmIrqfd.offset.fd, eventFd, true);
    request.setUint32(KvmIrqfd.offset.gsi, gsi, true);
    request.setUint32(KvmIrqfd.offset.flags, IRQFD_DEASSIGN, true);
    must('KVM_IRQFD', native().ioctl(this.fd, Ioctl.KVM_IRQFD, request));
  }

  /**
   * A doorbell: a write to `address` adds 1 to the eventfd without an exit. Any write, of any width, or with `match` words
   * of this value. 0 or -errno.
   */
  assignIoeventfd(eventFd: number, address: number, match?: number): number {
    return this.#ioeventfd(eventFd, address, match, 0);
  }

  deassignIoeventfd(eventFd: number, address: number, match?: number): number {
    return this.#ioeventfd(eventFd, address, match, IOEVENTFD_DEASSIGN);
  }

  #ioeventfd(eventFd: number, address: number, match: number | undefined, flags: number): number {
    const request = new DataView(new ArrayBuffer(KvmIoeventfd.size));
    const at = KvmIoeventfd.offset;
    setU64(request, at.addr, address);
    request.setUint32(at.len, match === undefined ? 0 : matchedBytes, true);
    request.setUint32(at.fd, eventFd, true);
    request.setUint32(at.flags, match === undefined ? flags : flags | IOEVENTFD_DATAMATCH, true);
    setU64(request, at.datamatch, match ?? 0);
    return native().ioctl(this.fd, Ioctl.KVM_IOEVENTFD, request);
  }
}
