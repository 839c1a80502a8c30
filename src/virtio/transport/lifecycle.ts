/**
 * The transport's side of a data path's life: the words of `Lifecycle` in virtio/registers.ts (contract §2.7). vCPU
 * workers under the machine lock; main when the machine restarts.
 *
 *   inactive -> activating   here, at DRIVER_OK, when the frozen parameters are valid
 *   activating -> active     the data path
 *   activating, active -> resetting   here, when status 0 is written
 *   resetting -> inactive    the data path, when the kernel has no request left and it touches guest memory no more
 *
 * Every step is a compare-and-exchange, so each side sees what the other did first. At a reset request all registers that
 * a driver sees take their reset values at once, but for status, which reads as `resettingStatus` until the data path
 * confirms; registers written meanwhile are ignored. `needsReset` and pending vectors may still be set by a data path that
 * has not seen the request: they count for nothing while status is 0 and are cleared when a driver next acknowledges.
 */
import { noVector } from '../interrupt.js';
import { Lifecycle, type VirtioState } from '../registers.js';
import { Status } from '../status.js';

/** What status reads as while a reset is under way: not zero, and nothing that a driver would act on. */
export const resettingStatus = Status.acknowledge;

export const isResetting = (state: VirtioState): boolean =>
  Atomics.load(state.device.lifecycle, 0) === Lifecycle.resetting;

/** The data path serves the queues, or will. */
export function isServed(state: VirtioState): boolean {
  const life = Atomics.load(state.device.lifecycle, 0);
  return life === Lifecycle.activating || life === Lifecycle.active;
}

/** The data path touches nothing: its queues may change. */
export const isQuiet = (state: VirtioState): boolean => Atomics.load(state.device.lifecycle, 0) === Lifecycle.inactive;

/** True if the data path may now start; then wake it. */
export const activate = (state: VirtioState): boolean =>
  Atomics.compareExchange(state.device.lifecycle, 0, Lifecycle.inactive, Lifecycle.activating) === Lifecycle.inactive;

/** Asks the data path to stop. True if it has to be woken and will confirm; false if it does not run. */
export function stopDataPath(state: VirtioState): boolean {
  const { lifecycle } = state.device;
  // The data path makes one step of its own, from activating to active, so the second of these finds it.
  const stopped = (from: number): boolean => Atomics.compareExchange(lifecycle, 0, from, Lifecycle.resetting) === from;
  return stopped(Lifecycle.activating) || stopped(Lifecycle.active) || isResetting(state);
}

/** The reset values of everything that a driver sees (virtio 1.2 §4.1.4.3.1); the configuration keeps its contents. */
export function clearDriverRegisters(state: VirtioState): void {
  const { device } = state;
  device.deviceFeatureSelect = 0;
  device.driverFeatureSelect = 0;
  device.driverFeatures0 = 0;
  device.driverFeatures1 = 0;
  device.queueSelect = 0;
  device.configVector = noVector;
  device.status = 0;
  Atomics.store(device.isr, 0, 0);
  clearLeftovers(state);
  state.queues.forEach((queue, index) => {
    queue.size = state.shape.queueSizes[index]!;
    queue.vector = noVector;
    queue.enabled = 0;
    queue.descLow = 0;
    queue.descHigh = 0;
    queue.driverLow = 0;
    queue.driverHigh = 0;
    queue.deviceLow = 0;
    queue.deviceHigh = 0;
  });
}

/** What a data path may still have set after a reset was requested. */
export function clearLeftovers(state: VirtioState): void {
  Atomics.store(state.device.needsReset, 0, 0);
  for (let i = 0; i < state.msixPending.length; i++) Atomics.store(state.msixPending, i, 0);
}
