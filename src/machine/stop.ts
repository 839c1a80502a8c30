/** A stop: the power button, and the plug if that does not help. Main thread. */
import type { VmExit } from './exit.js';

/** The button's driver is a module and logind may not listen yet: press again (contract §7.3). */
const pressEveryMs = 2000;

export interface StoppedMachine {
  readonly exited: Promise<VmExit>;
  /** Presses the power button; between two power cycles there is none, and the next press finds one. */
  press(): void;
  kill(): void;
}

/** Resolves when the machine has ended, which is killed after `timeout` ms. */
export async function stopMachine(machine: StoppedMachine, timeout: number): Promise<VmExit> {
  const timer = setInterval(() => machine.press(), pressEveryMs);
  const deadline = setTimeout(() => machine.kill(), timeout);
  machine.press();
  try {
    return await machine.exited;
  } finally {
    clearInterval(timer);
    clearTimeout(deadline);
  }
}
