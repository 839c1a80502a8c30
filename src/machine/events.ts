/** What a `VirtualMachine` emits. Main thread. */
import type { VmExit } from './exit.js';
import type { VmState } from './states.js';

/** Something that went wrong without ending the machine. */
export interface Warning {
  source: 'guest' | 'device' | 'host';
  device?: string;
  message: string;
  /** Warnings left out since the last one. */
  suppressed: number;
  cause?: unknown;
}

export interface VmEvents {
  state: [to: VmState, from: VmState];
  reboot: [];
  warning: [warning: Warning];
  exit: [exit: VmExit];
}
