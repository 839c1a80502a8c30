/**
 * One KVM machine: its descriptor and everything that is asked of it. Any thread of the process that made it.
 *
 * Order of creation (contract §3.1): memory, irqchip, PIT, then vCPUs and, at the same time, routing and irqfds. Memory set after the
 * irqchip costs 50 times as much, and KVM refuses an irqchip once a vCPU exists.
 */
import { native } from '../host/addon.js';
import { Errno } from '../host/errno.js';
import { closeFd, Sys } from '../host/system.js';
import { setU64 } from '../host/u64.js';
import { Ioctl } from './ioctls.js';
import { type Kvm, must } from './kvm.js';
import { KvmIoeventfd, KvmIrqfd, KvmIrqLevel } from './structs.js';
import { type VmCall, VmMaking } from './vm-making.js';

const IRQFD_DEASSIGN = 1;
const IOEVENTFD_DATAMATCH = 1;
const IOEVENTFD_DEASSIGN = 4;
const matchedBytes = 4;

export class KvmVm {
  #fd = -1;
  #making: VmMaking | undefined;
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

  /** Begins to make it, on another thread: until `made`, nothing can be asked of it. */
  begin(kvm: Kvm, calls: readonly VmCall[]): void {
    this.#making = new VmMaking(kvm, calls);
  }

  /** Resolves when it is made, here if nobody has begun. Throws what KVM refuses; `closeLater` closes what there is then. */
  async made(): Promise<void> {
    const making = this.#making!;
    this.#making = undefined;
    if (!making.takeBack()) {
      this.#fd = await making.fd();
      making.check();
      return;
    }
    this.create(making.kvm);
    for (const call of making.calls) this.call(call);
  }

  call([name, argument]: VmCall): void {
    let result: number;
    do result = native().ioctl(this.fd, Ioctl[name], argument);
    while (result === -Errno.EINTR);
    must(name, result);
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
    if (this.#making?.takeBack() === false) this.#fd = await this.#making.fd();
    if (this.fd >= 0) await native().closeFdLater(this.fd);
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
