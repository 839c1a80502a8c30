/**
 * Serves the real-time clock's interrupts: alarms and the update and periodic ones. Main thread.
 *
 * The clock itself is read on the vCPU threads; only a driver that asks for interrupts makes main keep a timer, which
 * keeps nothing alive.
 */
import type { RtcHost } from '../devices/rtc-host.js';

/** setTimeout's largest delay; a later alarm is looked at again then. */
const longestDelayMs = 2 ** 31 - 1;

export class ClockService {
  readonly #rtc: RtcHost;
  readonly #withLock: (task: () => void) => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(rtc: RtcHost, withLock: (task: () => void) => void) {
    this.#rtc = rtc;
    this.#withLock = withLock;
  }

  /** The driver may have changed something. */
  service(): void {
    if (this.#rtc.unsettled) this.#withLock(() => this.#serve());
  }

  close(): void {
    clearTimeout(this.#timer);
  }

  #serve(): void {
    clearTimeout(this.#timer);
    const delayMs = this.#rtc.service();
    if (delayMs === Number.POSITIVE_INFINITY) return;
    this.#timer = setTimeout(() => this.#withLock(() => this.#serve()), Math.min(delayMs, longestDelayMs)).unref();
  }
}
