/**
 * A timer as a descriptor: timerfd(2), which a loop that sleeps in its I/O engine reads like an eventfd. The I/O worker.
 */
import { TsvmmError } from '../errors.js';
import { native } from './addon.js';
import { outOfDescriptors } from './doorbell.js';
import { errnoName } from './errno.js';
import { Sys, syscall } from './system.js';

const CLOCK_MONOTONIC = 1;
const TFD_FLAGS = 0o2004000; // TFD_CLOEXEC | TFD_NONBLOCK

/** 32-bit words of struct itimerspec: interval, then value, each seconds and nanoseconds of 64 bits. */
const Word = { seconds: 4, nanoseconds: 6, count: 8 } as const;

export class Alarm {
  readonly fd: number;
  readonly #words = new Uint32Array(Word.count);

  /** Throws when the process has no descriptor left. */
  constructor() {
    this.fd = native().openFd(Sys.timerfdCreate, CLOCK_MONOTONIC, TFD_FLAGS);
    if (this.fd < 0) throw outOfDescriptors(this.fd);
  }

  /** Rings once, so many microseconds from now (at least one), instead of what was set before. */
  ringIn(micros: number): void {
    const nanoseconds = Math.max(1, Math.ceil(micros)) * 1000;
    this.#words[Word.seconds] = Math.floor(nanoseconds / 1e9);
    this.#words[Word.nanoseconds] = nanoseconds % 1e9;
    const result = syscall(Sys.timerfdSettime, this.fd, 0, this.#words, 0);
    if (result < 0) throw new TsvmmError('ERR_TSVMM_STATE', `a timer cannot be set: ${errnoName(result)}`);
  }

  close(): void {
    native().closeFd(this.fd);
  }
}
