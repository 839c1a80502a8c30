/**
 * Notices that a module does not answer in time, which it cannot notice itself when it blocks its own thread. Main thread.
 *
 * The module's side ends every request at its deadline; a request that is still there a good while later says that nothing
 * runs there any more.
 */
import { channelSlots, type OpenUserDisk, SlotState, UserChannel } from '../disk/user-channel.js';
import { monotonicMs } from '../host/clock.js';

/** Beyond the deadline, for a thread that is only busy. */
export const graceMs = 5000;
const shortestLookMs = 1000;

export class UserDiskWatch {
  readonly #channel: UserChannel;
  readonly #patience: number;
  readonly #stuck: () => void;
  readonly #timer: NodeJS.Timeout;
  readonly #sequence = new Int32Array(channelSlots);
  /** When the slot was first seen with that request; 0: it has none. */
  readonly #since = new Float64Array(channelSlots);

  constructor(disk: OpenUserDisk, timeout: number, stuck: () => void) {
    this.#channel = new UserChannel(disk);
    this.#patience = timeout + graceMs;
    this.#stuck = stuck;
    this.#timer = setInterval(() => this.#look(), Math.max(shortestLookMs, timeout / 4)).unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  #look(): void {
    const now = monotonicMs();
    for (let slot = 0; slot < channelSlots; slot++) {
      const state = this.#channel.state(slot);
      const sequence = this.#channel.sequence(slot);
      if (state !== SlotState.submitted && state !== SlotState.taken) this.#since[slot] = 0;
      else if (this.#since[slot] === 0 || this.#sequence[slot] !== sequence) {
        this.#since[slot] = now;
        this.#sequence[slot] = sequence;
      } else if (now - this.#since[slot]! > this.#patience) {
        this.close();
        this.#stuck();
        return;
      }
    }
  }
}
