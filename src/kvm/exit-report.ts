/**
 * What a guest was doing when KVM could not go on: registers, the instruction bytes, KVM's own words. vCPU worker, once.
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { errnoName } from '../host/errno.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { GuestMemory } from '../memory/guest-memory.js';
import { Exit, exitName, Ioctl } from './ioctls.js';
import { KvmRegs, KvmRun, KvmRunExits, KvmSegment, KvmSregs, KvmTranslation } from './structs.js';
import type { Vcpu } from './vcpu.js';

const instructionBytes = 15; // the longest x86 instruction
const suberrors = [
  'unknown',
  'instruction emulation failed',
  'two exceptions at once',
  'event delivery failed',
  'unexpected exit reason',
];
const maxErrorData = 16;

/** An error of code `ERR_TSVMM_GUEST` with `details.registers` (hex strings), `details.instruction` and KVM's data. */
export function describeExit(vcpu: Vcpu, regions: readonly RamRegion[], result: number): TsvmmError {
  const reason = vcpu.exitReason;
  const registers = readRegisters(vcpu);
  const instruction = readInstruction(vcpu, regions);
  const what = result < 0 ? `KVM_RUN failed: ${errnoName(result)}` : explain(vcpu, reason);
  const where = `vCPU ${vcpu.id} at rip ${registers['rip'] ?? 'unknown'}, instruction ${instruction || 'not readable'}`;
  return new TsvmmError('ERR_TSVMM_GUEST', `${what} (${where})`, {
    hint:
      reason === Exit.internalError
        ? 'this KVM cannot run what the guest does in kernel mode; tsvmm doctor says whether it is hardware KVM'
        : 'look at the guest console for what happened before',
    details: { exit: exitName(reason), cpu: vcpu.id, registers, instruction, ...internalData(vcpu, reason) },
  });
}

function explain(vcpu: Vcpu, reason: number): string {
  const at = KvmRun.offset.io;
  const word = (offset: number): number => vcpu.run.getUint32(at + offset, true);
  switch (reason) {
    case Exit.shutdown:
      return 'the guest triple-faulted';
    case Exit.internalError: {
      const suberror = word(KvmRunExits.offset.internal_suberror);
      return `KVM internal error: ${suberrors[suberror] ?? `suberror ${suberror}`}`;
    }
    case Exit.failEntry:
      return `the CPU refused to enter the guest: hardware reason 0x${word(KvmRunExits.offset.fail_entry_hardware_entry_failure_reason).toString(16)}`;
    case Exit.unknown:
      return `KVM did not know the exit: hardware reason 0x${word(KvmRunExits.offset.hw_hardware_exit_reason).toString(16)}`;
    case Exit.exception:
      return `the guest raised exception ${word(KvmRunExits.offset.ex_exception)}, error code ${word(KvmRunExits.offset.ex_error_code)}`;
    default:
      return `KVM_RUN ended with an exit that tsvmm did not ask for: ${exitName(reason)}`;
  }
}

function internalData(vcpu: Vcpu, reason: number): Record<string, unknown> {
  if (reason !== Exit.internalError) return {};
  const at = KvmRun.offset.io;
  const count = Math.min(vcpu.run.getUint32(at + KvmRunExits.offset.internal_ndata, true), maxErrorData);
  const data = Array.from({ length: count }, (_, i) =>
    hex(vcpu.run.getBigUint64(at + KvmRunExits.offset.internal_data + i * 8, true)),
  );
  return { data };
}

const hex = (value: bigint): string => `0x${value.toString(16)}`;

/** General, segment and control registers as hex strings; empty if KVM will not say. */
export function readRegisters(vcpu: Vcpu): Record<string, string> {
  const registers: Record<string, string> = {};
  try {
    const regs = vcpu.getRegs();
    for (const [name, offset] of Object.entries(KvmRegs.offset)) registers[name] = hex(regs.getBigUint64(offset, true));
    const sregs = vcpu.getSregs();
    for (const name of ['cs', 'ds', 'es', 'fs', 'gs', 'ss', 'tr', 'ldt'] as const) {
      const at = KvmSregs.offset[name];
      const selector = sregs.getUint16(at + KvmSegment.offset.selector, true);
      registers[name] = `0x${selector.toString(16)} base ${hex(sregs.getBigUint64(at + KvmSegment.offset.base, true))}`;
    }
    for (const name of ['cr0', 'cr2', 'cr3', 'cr4', 'efer', 'apic_base'] as const) {
      registers[name] = hex(sregs.getBigUint64(KvmSregs.offset[name], true));
    }
  } catch (error) {
    registers['unreadable'] = error instanceof Error ? error.message : String(error);
  }
  return registers;
}

/** Bytes at CS:RIP as hex, as many as lie in RAM; '' if the address leads nowhere. */
function readInstruction(vcpu: Vcpu, regions: readonly RamRegion[]): string {
  try {
    const at = KvmSregs.offset.cs + KvmSegment.offset.base;
    const linear = vcpu.getSregs().getBigUint64(at, true) + vcpu.getRegs().getBigUint64(KvmRegs.offset.rip, true);
    const request = new DataView(new ArrayBuffer(KvmTranslation.size));
    request.setBigUint64(KvmTranslation.offset.linear_address, linear & 0xffff_ffff_ffff_ffffn, true);
    if (
      native().ioctl(vcpu.fd, Ioctl.KVM_TRANSLATE, request) < 0 ||
      request.getUint8(KvmTranslation.offset.valid) === 0
    )
      return '';
    const physical = Number(request.getBigUint64(KvmTranslation.offset.physical_address, true));
    const ram = new GuestMemory(regions, () => new ArrayBuffer(0));
    for (let length = instructionBytes; length > 0; length--) {
      const address = ram.hostAddress(physical, length);
      if (address === 0) continue;
      const bytes = Buffer.alloc(length);
      native().copyOut(address, bytes);
      return bytes.toString('hex');
    }
  } catch {
    // The report goes on without the instruction; the registers say where it was.
  }
  return '';
}
