/** The states of a machine and the only ways between them. Main thread. */
import { TsvmmError } from '../errors.js';

export type VmState = 'starting' | 'running' | 'paused' | 'stopping' | 'stopped';

const allowed: Record<VmState, readonly VmState[]> = {
  starting: ['running', 'stopping', 'stopped'],
  running: ['paused', 'stopping', 'stopped'],
  paused: ['running', 'stopping', 'stopped'],
  stopping: ['stopped'],
  stopped: [],
};

/** Throws `ERR_TSVMM_STATE` with both states when there is no such way. */
export function checkTransition(from: VmState, to: VmState): void {
  if (allowed[from].includes(to)) return;
  throw new TsvmmError('ERR_TSVMM_STATE', `a machine that is ${from} cannot become ${to}`);
}
