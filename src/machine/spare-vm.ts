/**
 * A KVM machine that is made ahead, while workers are kept warm: making one takes KVM the better part of a millisecond, and the
 * next start finds it there. Main thread.
 */
import type { Kvm } from '../kvm/kvm.js';
import { KvmVm } from '../kvm/vm.js';

/** After a start: its guest and whoever waits for it come first. */
const restMs = 5;

let holders = 0;
let spare: KvmVm | undefined;
let timer: NodeJS.Timeout | undefined;

/** Keeps one there from now on; released by the result. */
export function keepSpareVm(kvm: Kvm): () => void {
  spare ??= KvmVm.create(kvm);
  holders++;
  let isReleased = false;
  return () => {
    if (isReleased) return;
    isReleased = true;
    holders--;
    if (holders > 0) return;
    clearTimeout(timer);
    spare?.close();
    spare = undefined;
  };
}

/** The one that is there, or a new one. The caller closes it. */
export function takeVm(kvm: Kvm): KvmVm {
  const taken = spare;
  if (taken === undefined) return KvmVm.create(kvm);
  spare = undefined;
  timer = setTimeout(() => {
    try {
      if (holders > 0) spare ??= KvmVm.create(kvm);
    } catch {} // it may be possible when one is wanted, and whoever wants it hears of it
  }, restMs).unref();
  return taken;
}
