/**
 * The making of a KVM machine, in the order of docs/decisions/0001-order-of-creation.md. Main thread.
 *
 * It takes one to four milliseconds, mostly waiting for grace periods of the kernel. So it begins on a thread of libuv's pool while
 * main makes the rest of the machine; a pool that has other things to do, and has not begun when it is needed, is not waited for
 * (docs/decisions/0019-made-meanwhile.md).
 */

import { native } from '../host/addon.js';
import { setU64 } from '../host/u64.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { Ioctl } from './ioctls.js';
import { type Kvm, must } from './kvm.js';
import { KvmPitConfig, KvmUserspaceMemoryRegion } from './structs.js';

const PIT_SPEAKER_DUMMY = 1;

export type VmCall = readonly [name: keyof typeof Ioctl, argument: number | DataView];

/** As native/making.cc has them. */
const Word = { fd: 0, failed: 1, error: 2 } as const;
const words = 3;

export function memoryRegion(slot: number, { start, size, hostAddress }: RamRegion): VmCall {
  const region = new DataView(new ArrayBuffer(KvmUserspaceMemoryRegion.size));
  const at = KvmUserspaceMemoryRegion.offset;
  region.setUint32(at.slot, slot, true);
  setU64(region, at.guest_phys_addr, start);
  setU64(region, at.memory_size, size);
  setU64(region, at.userspace_addr, hostAddress);
  return ['KVM_SET_USER_MEMORY_REGION', region];
}

/**
 * All that a machine has before its vCPUs: three pages that VMX needs in guest-physical space below 4 GiB, and one for its identity map (KVM API
 * §4.42, §4.91), memory, interrupt controllers, and the i8254 with port 0x61 answered by KVM, so that guests can calibrate against it.
 */
export function machineCalls(tss: number, identityMap: number, regions: readonly RamRegion[]): VmCall[] {
  const map = new DataView(new ArrayBuffer(8));
  setU64(map, 0, identityMap);
  const pit = new DataView(new ArrayBuffer(KvmPitConfig.size));
  pit.setUint32(KvmPitConfig.offset.flags, PIT_SPEAKER_DUMMY, true);
  return [
    ['KVM_SET_IDENTITY_MAP_ADDR', map],
    ['KVM_SET_TSS_ADDR', tss],
    ...regions.map((region, slot) => memoryRegion(slot, region)),
    ['KVM_CREATE_IRQCHIP', 0],
    ['KVM_CREATE_PIT2', pit],
  ];
}

export class VmMaking {
  readonly kvm: Kvm;
  readonly calls: readonly VmCall[];
  readonly #words = new Int32Array(words);
  readonly #over: Promise<void>;

  /** Begins. */
  constructor(kvm: Kvm, calls: readonly VmCall[]) {
    this.kvm = kvm;
    this.calls = calls;
    const all: VmCall[] = [['KVM_CREATE_VM', 0], ...calls];
    this.#over = native().makeLater(
      kvm.fd,
      all.flatMap(([name, argument]) => [Ioctl[name], argument]),
      this.#words,
    );
  }

  /** True if the pool has not begun, and then it will not. */
  takeBack(): boolean {
    return native().takeBack(this.#over) === 1;
  }

  /** What the pool made, once nothing is under way any more: a descriptor that the caller closes, or -errno. */
  async fd(): Promise<number> {
    await this.#over;
    return this.#words[Word.fd]!;
  }

  /** Throws what KVM refused. */
  check(): void {
    must('KVM_CREATE_VM', this.#words[Word.fd]!);
    const failed = this.#words[Word.failed]!;
    if (failed > 0) must(this.calls[failed - 1]![0], -this.#words[Word.error]!);
  }
}
