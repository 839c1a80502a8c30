/**
 * Does this KVM run a guest's kernel mode on the CPU, or does it emulate it? Main thread, about 0.1 s at worst.
 *
 * A tiny guest in 64-bit ring 0 executes `cmpxchg16b`, which every 64-bit kernel uses and KVM's emulator lacks: where ring
 * 0 is emulated (PVM, some KVMs under virtualization) that ends in an internal error. How many instructions a second a
 * plain loop reached before is told beside it, but decides nothing: a slow host is not an emulating KVM.
 */
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { setU64 } from '../host/u64.js';
import { Exit, exitName } from '../kvm/ioctls.js';
import type { Kvm } from '../kvm/kvm.js';
import { setStartState } from '../kvm/start-state.js';
import { KvmRegs } from '../kvm/structs.js';
import { Vcpu } from '../kvm/vcpu.js';
import { KvmVm } from '../kvm/vm.js';
import { memoryRegion } from '../kvm/vm-making.js';
import { GuestRam } from '../memory/ram.js';

export interface ProbeResult {
  /** True: stock kernels can boot. */
  readonly hardware: boolean;
  /** Ring-0 instructions a second, millions; 0 if the loop did not end. */
  readonly millionsPerSecond: number;
  /** How the run ended when not as planned. */
  readonly detail: string;
}

const iterations = 20_000;
const instructionsPerIteration = 2;
const ramSize = 0x20_0000;
const At = { gdt: 0x500, pageTables: 0x1000, code: 0x4000, stack: 0x8000, operand: 0x9000 } as const;
const port = 0xf4;

/** mov ecx, iterations; 1: dec ecx; jnz 1b; out 0xf4, al — then — lock cmpxchg16b [rdi]; out 0xf4, al; hlt */
// biome-ignore format: one instruction a line
const code = Uint8Array.of(
  0xb9, iterations & 0xff, (iterations >> 8) & 0xff, (iterations >> 16) & 0xff, 0,
  0xff, 0xc9,
  0x75, 0xfc,
  0xe6, port,
  0xf0, 0x48, 0x0f, 0xc7, 0x0f,
  0xe6, port,
  0xf4,
);

export function probe(kvm: Kvm): ProbeResult {
  const ram = GuestRam.map(ramSize);
  const vm = new KvmVm().create(kvm);
  let vcpu: Vcpu | undefined;
  try {
    vm.call(memoryRegion(0, { start: 0, size: ramSize, hostAddress: ram.hostAddress }));
    load(ram.hostAddress);
    vcpu = new Vcpu(0, vm.createVcpu(0), kvm.runPageSize());
    vcpu.setCpuid(kvm.supportedCpuid());
    setStartState(vcpu, {
      mode: 'long64',
      rip: At.code,
      rsi: 0,
      pageTables: At.pageTables,
      gdt: At.gdt,
      stack: At.stack,
    });
    const regs = vcpu.getRegs();
    setU64(regs, KvmRegs.offset.rdi, At.operand);
    vcpu.setRegs(regs);

    const started = performance.now();
    const loop = runToPort(vcpu);
    const seconds = (performance.now() - started) / 1000;
    const millionsPerSecond = loop === '' ? (iterations * instructionsPerIteration) / seconds / 1e6 : 0;
    const swap = loop === '' ? runToPort(vcpu) : 'not tried';
    return {
      hardware: swap === '',
      millionsPerSecond,
      detail: loop || swap,
    };
  } finally {
    vcpu?.close();
    vm.close();
    ram.release();
  }
}

/** '' when the guest reached its port write, else how it ended. */
function runToPort(vcpu: Vcpu): string {
  for (;;) {
    const result = native().run(vcpu.fd);
    if (result === -Errno.EINTR) continue; // a profiler's signal
    if (result < 0) return errnoName(result);
    return vcpu.exitReason === Exit.io ? '' : exitName(vcpu.exitReason);
  }
}

/** The program, flat segments, and page tables that map the first GiB with 2 MiB pages. */
function load(hostAddress: number): void {
  const presentWritable = 3;
  const largePage = 0x80;
  native().copyIn(hostAddress + At.code, code);
  const gdt = new Uint8Array(new BigUint64Array([0n, 0n, 0x00af_9b00_0000_ffffn, 0x00cf_9300_0000_ffffn]).buffer);
  native().copyIn(hostAddress + At.gdt, gdt);
  const tables = new DataView(new ArrayBuffer(3 * 4096));
  setU64(tables, 0, At.pageTables + 0x1000 + presentWritable);
  setU64(tables, 0x1000, At.pageTables + 0x2000 + presentWritable);
  for (let i = 0; i < 512; i++) setU64(tables, 0x2000 + i * 8, i * 0x20_0000 + presentWritable + largePage);
  native().copyIn(hostAddress + At.pageTables, new Uint8Array(tables.buffer));
}
