/** Why a machine ended: the value of `vm.exited`. Main thread. */
import { MachineEvent } from '../devices/wires.js';
import { asTsvmmError, type Phase, TsvmmError } from '../errors.js';

export type VmExit = {
  /** The newest console output. */
  consoleTail: string;
  /** Since the machine was started, reboots included. */
  uptimeMs: number;
} & (
  | {
      /** By the guest, by the guest's reset with `onReboot: 'exit'`, by `stop()`, by `kill()` or its deadline. */
      reason: 'power-off' | 'reset' | 'stopped' | 'killed';
      /** The byte that the guest wrote to the debug exit port, if that is how it ended. */
      debugExit?: number;
    }
  | { reason: 'aborted'; cause: unknown }
  | { reason: 'panic'; message: string }
  | { reason: 'error'; error: TsvmmError }
);

/** An exit without what every exit has. */
export type ExitReason = VmExit extends infer E
  ? E extends unknown
    ? Omit<E, 'consoleTail' | 'uptimeMs'>
    : never
  : never;

/** What a guest's event means, `reset` excepted, which may be a reboot. */
export function exitOf(event: MachineEvent, detail: number, consoleTail: string): ExitReason {
  switch (event) {
    case MachineEvent.powerOff:
      return { reason: 'power-off' };
    case MachineEvent.debugExit:
      return { reason: 'power-off', debugExit: detail };
    case MachineEvent.panic:
      return { reason: 'panic', message: panicMessage(consoleTail) };
    case MachineEvent.reset:
      return { reason: 'reset' };
  }
}

/** The kernel's own words, if the console showed them. */
function panicMessage(consoleTail: string): string {
  const said = [...consoleTail.matchAll(/Kernel panic - not syncing: ([^\r\n]*)/g)].at(-1)?.[1];
  return said?.trim() || 'the guest reported a panic';
}

/** What a power-on that is cut short rejects with. */
export function causeOf(reason: ExitReason): unknown {
  if (reason.reason === 'error') return reason.error;
  return reason.reason === 'aborted'
    ? reason.cause
    : new TsvmmError('ERR_TSVMM_STATE', `the machine ended while it was powered on: ${reason.reason}`);
}

/** Why a start has failed, with how far it came. */
export function startError(failure: unknown, phases: Phase[], consoleTail: string): TsvmmError {
  const error = asTsvmmError(failure, 'ERR_TSVMM_STATE');
  error.phases ??= phases;
  if (consoleTail !== '') error.consoleTail ??= consoleTail;
  return error;
}
