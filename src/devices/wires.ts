/**
 * What register code may do to the world outside its registers. vCPU workers.
 *
 * Register code is stateless and runs under the machine lock (design §3); everything it causes goes through here, so that
 * a test can watch it and so that nothing forbidden under the lock (contract §2.1) can be reached by accident.
 */
export const MachineEvent = {
  /** ACPI S5. */
  powerOff: 1,
  /** Keyboard controller, reset register, triple fault. */
  reset: 2,
  /** The debug exit port; the detail is the byte written. */
  debugExit: 3,
  /** pvpanic; the detail is the event mask. */
  panic: 4,
} as const;
export type MachineEvent = (typeof MachineEvent)[keyof typeof MachineEvent];

export interface Wires {
  /** Sets the level of a GSI (KVM_IRQ_LINE); allowed under the lock. */
  setLine(gsi: number, level: 0 | 1): void;
  /** Adds 1 to an eventfd; allowed under the lock. */
  ring(eventFd: number): void;
  /** The guest asked to end or to restart; the first one wins. */
  raise(event: MachineEvent, detail: number): void;
  /**
   * Runs `task` after the machine lock is released, on this thread, under the topology lock, before the guest goes on:
   * for KVM_IOEVENTFD, GSI routing and whatever else waits on SRCU. It re-reads the registers, so the last writer wins.
   */
  afterwards(task: TopologyTask): void;
  /**
   * This vCPU goes no further in the guest while `word[0]` is `value`. It waits on its way out, when all locks are
   * released, and can be kicked (contract §2.7). Whoever changes the word notifies.
   */
  hold(word: Int32Array, value: number): void;
  /** The I/O worker has something to look at in this device's lifecycle word. */
  wakeDataPath(): void;
  /** "driver: ..." — a guest's protocol mistake, rate-limited by the receiver. `device` is its name. */
  warn(device: string, message: string): void;
}

/** Of `Wires`, for those who need no more of it. */
export type SetLine = Wires['setLine'];

/** Made once at construction, never per access. */
export interface TopologyTask {
  /** For messages. */
  readonly name: string;
  run(): void;
}
