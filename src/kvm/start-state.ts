/**
 * The registers with which vCPU 0 enters a kernel. vCPU worker.
 *
 * Linux boot protocol §1.12 (64-bit): long mode, identity-mapped, CS 0x10, DS 0x18, interrupts off, RSI = boot params.
 * PVH (xen/include/public/arch-x86/hvm/start_info.h): flat 32-bit protected mode, paging off, EBX = start info.
 * Application processors keep KVM's reset state and wait for INIT/SIPI.
 */

import { setU64 } from '../host/u64.js';
import { KvmDtable, KvmRegs, KvmSegment, KvmSregs } from './structs.js';
import type { Vcpu } from './vcpu.js';

/** What a boot image asks of the first vCPU; mirrors `Entry` of boot/boot-image.ts, which this layer may not import. */
export type StartState =
  | {
      readonly mode: 'long64';
      readonly rip: number;
      readonly rsi: number;
      readonly pageTables: number;
      readonly gdt: number;
      readonly stack: number;
    }
  | { readonly mode: 'pvh32'; readonly rip: number; readonly ebx: number; readonly gdt: number };

const Cr0 = { pe: 1, mp: 2, et: 0x10, ne: 0x20, wp: 0x1_0000, pg: 0x8000_0000 } as const;
const Cr4 = { pae: 0x20 } as const;
const Efer = { lme: 0x100, lma: 0x400 } as const;
const rflagsFixed = 2;

const codeSelector = 0x10;
const dataSelector = 0x18;
const taskSelector = 0x20;
const Type = { codeReadAccessed: 11, dataWriteAccessed: 3, tssBusy32: 11 } as const;
/** Four descriptors of 8 bytes and a 64-bit TSS descriptor's room. */
const gdtLimit = 6 * 8 - 1;

export function setStartState(vcpu: Vcpu, start: StartState): void {
  const sregs = vcpu.getSregs();
  const at = KvmSregs.offset;
  const long = start.mode === 'long64';
  segment(sregs, at.cs, codeSelector, Type.codeReadAccessed, { l: long ? 1 : 0, db: long ? 0 : 1 });
  for (const data of [at.ds, at.es, at.fs, at.gs, at.ss])
    segment(sregs, data, dataSelector, Type.dataWriteAccessed, { db: 1 });
  segment(sregs, at.tr, taskSelector, Type.tssBusy32, { s: 0, g: 0, limit: 0x67 });
  setU64(sregs, at.gdt + KvmDtable.offset.base, start.gdt);
  sregs.setUint16(at.gdt + KvmDtable.offset.limit, gdtLimit, true);
  setU64(sregs, at.idt + KvmDtable.offset.base, 0);
  sregs.setUint16(at.idt + KvmDtable.offset.limit, 0, true);
  if (start.mode === 'long64') {
    setU64(sregs, at.cr0, Cr0.pe + Cr0.mp + Cr0.et + Cr0.ne + Cr0.wp + Cr0.pg);
    setU64(sregs, at.cr3, start.pageTables);
    setU64(sregs, at.cr4, Cr4.pae);
    setU64(sregs, at.efer, Efer.lme + Efer.lma);
  } else {
    setU64(sregs, at.cr0, Cr0.pe + Cr0.et);
    setU64(sregs, at.cr4, 0);
    setU64(sregs, at.efer, 0);
  }
  vcpu.setSregs(sregs);

  const regs = new DataView(new ArrayBuffer(KvmRegs.size));
  setU64(regs, KvmRegs.offset.rflags, rflagsFixed);
  setU64(regs, KvmRegs.offset.rip, start.rip);
  if (start.mode === 'long64') {
    setU64(regs, KvmRegs.offset.rsi, start.rsi);
    setU64(regs, KvmRegs.offset.rsp, start.stack);
  } else {
    setU64(regs, KvmRegs.offset.rbx, start.ebx);
  }
  vcpu.setRegs(regs);
}

interface SegmentBits {
  readonly l?: number;
  readonly db?: number;
  readonly s?: number;
  readonly g?: number;
  readonly limit?: number;
}

function segment(sregs: DataView, base: number, selector: number, type: number, bits: SegmentBits): void {
  const at = KvmSegment.offset;
  setU64(sregs, base + at.base, 0);
  sregs.setUint32(base + at.limit, bits.limit ?? 0xffff_ffff, true);
  sregs.setUint16(base + at.selector, selector, true);
  sregs.setUint8(base + at.type, type);
  sregs.setUint8(base + at.present, 1);
  sregs.setUint8(base + at.dpl, 0);
  sregs.setUint8(base + at.db, bits.db ?? 0);
  sregs.setUint8(base + at.s, bits.s ?? 1);
  sregs.setUint8(base + at.l, bits.l ?? 0);
  sregs.setUint8(base + at.g, bits.g ?? 1);
  sregs.setUint8(base + at.unusable, 0);
}

/** MTRR default type write-back and enabled, as firmware leaves it; fast strings on (Intel SDM vol. 4). */
const MSR_IA32_MISC_ENABLE = 0x1a0;
const MSR_MTRR_DEF_TYPE = 0x2ff;
const miscEnableFastString = 1n;
const mtrrEnabledWriteBack = 0x806n;

/** What firmware would have done on every vCPU. */
export function setFirmwareMsrs(vcpu: Vcpu): void {
  vcpu.setMsrs([
    [MSR_MTRR_DEF_TYPE, mtrrEnabledWriteBack],
    [MSR_IA32_MISC_ENABLE, miscEnableFastString],
  ]);
}
