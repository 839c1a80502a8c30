/**
 * The device status field and the steps that a driver may take in it (virtio 1.2 §2.1, §3.1.1). Any thread; pure.
 */
export const Status = {
  acknowledge: 0x01,
  driver: 0x02,
  driverOk: 0x04,
  featuresOk: 0x08,
  needsReset: 0x40,
  failed: 0x80,
} as const;

/** The order in which a driver sets them; each needs the one before. */
const sequence = [Status.acknowledge, Status.driver, Status.featuresOk, Status.driverOk] as const;
/** What a driver may write. DEVICE_NEEDS_RESET is the device's: a driver writes back what it read, so it is ignored. */
export const driverStatus = Status.acknowledge | Status.driver | Status.featuresOk | Status.driverOk | Status.failed;

/**
 * Why a driver may not write `to` where `from` stands, or undefined if it may. Writing 0 is a reset and not asked here.
 * Several steps in one write are taken in order, as some firmware does; a bit once set is only cleared by a reset (trap
 * T16).
 */
export function refusal(from: number, to: number): string | undefined {
  if ((from & driverStatus & ~to) !== 0) return 'driver: clears a status bit without a reset';
  if ((to & ~(driverStatus | Status.needsReset)) !== 0) return 'driver: sets a reserved status bit';
  for (let i = 1; i < sequence.length; i++) {
    if ((to & sequence[i]!) !== 0 && (to & sequence[i - 1]!) === 0) return 'driver: takes status steps out of order';
  }
  return undefined;
}
