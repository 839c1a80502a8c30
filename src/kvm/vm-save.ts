/**
 * What KVM holds of a machine beside its vCPUs: interrupt controllers and timer, taken out and put back (KVM API §4.26, §4.71).
 * Main thread, every vCPU parked or never run.
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Ioctl } from './ioctls.js';
import { must } from './kvm.js';
import { KvmIrqchip, KvmPitState2 } from './structs.js';

/** By their numbers in KVM: both PICs, the IOAPIC. */
const chips = ['pic-master', 'pic-slave', 'ioapic'] as const;
export const vmParts = [...chips, 'pit'] as const;
export type VmSave = Readonly<Record<(typeof vmParts)[number], Uint8Array>>;

export function saveVm(fd: number): VmSave {
  const chip = (id: number): Uint8Array => {
    const bytes = new Uint8Array(KvmIrqchip.size);
    new DataView(bytes.buffer).setUint32(KvmIrqchip.offset.chip_id, id, true);
    must('KVM_GET_IRQCHIP', native().ioctl(fd, Ioctl.KVM_GET_IRQCHIP, bytes));
    return bytes;
  };
  return { 'pic-master': chip(0), 'pic-slave': chip(1), ioapic: chip(2), pit: savePit(fd) };
}

/** Throws `ERR_TSVMM_SNAPSHOT` for bytes that cannot be a machine's, before KVM is asked. */
export function loadVm(fd: number, save: VmSave): void {
  checkVmSave(save);
  for (const chip of chips) must('KVM_SET_IRQCHIP', native().ioctl(fd, Ioctl.KVM_SET_IRQCHIP, save[chip]));
  loadPit(fd, save.pit);
}

export function checkVmSave(save: VmSave): void {
  chips.forEach((name, id) => {
    const chip = save[name];
    const isChip =
      chip.length === KvmIrqchip.size &&
      new DataView(chip.buffer, chip.byteOffset).getUint32(KvmIrqchip.offset.chip_id, true) === id;
    if (!isChip) throw notAMachine(name);
  });
  if (save.pit.length !== KvmPitState2.size) throw notAMachine('pit');
}

export function savePit(fd: number): Uint8Array {
  const pit = new Uint8Array(KvmPitState2.size);
  must('KVM_GET_PIT2', native().ioctl(fd, Ioctl.KVM_GET_PIT2, pit));
  return pit;
}

/** Its channels count on from where they were: KVM starts them anew. */
export function loadPit(fd: number, pit: Uint8Array): void {
  must('KVM_SET_PIT2', native().ioctl(fd, Ioctl.KVM_SET_PIT2, pit));
}

const notAMachine = (part: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_SNAPSHOT', `the state of the ${part} is not one that KVM has`, {
    hint: 'the snapshot is damaged or was not made by tsvmm: take another',
  });
