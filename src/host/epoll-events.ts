/** One epoll instance and its event array. The thread that opened it. See epoll(7). */
import { native } from './addon.js';
import { Errno, systemError } from './errno.js';
import { closeFd, Sys } from './system.js';

export const EPOLLIN = 1;
export const EPOLLONESHOT = 0x4000_0000;
export const EPOLLET = 0x8000_0000;

const EPOLL_CLOEXEC = 0o2000000;
const CTL_ADD = 1;
const CTL_DEL = 2;
const CTL_MOD = 3;

/** struct epoll_event is packed on x86-64: events, then 64 bits of data. */
const eventWords = 3;
const maxEvents = 256;

export class EpollSet {
  readonly #fd: number;
  readonly #events = new Uint32Array(maxEvents * eventWords);
  readonly #change = new Uint32Array(eventWords);

  constructor() {
    const fd = native().openFd(Sys.epollCreate1, EPOLL_CLOEXEC);
    if (fd < 0) throw systemError('epoll_create1', fd);
    this.#fd = fd;
  }

  /** Adds `fd`, or changes what it is watched for; `data` comes back with its events. 0 or -errno. */
  watch(fd: number, events: number, data: number, known: boolean): number {
    this.#change[0] = events;
    this.#change[1] = data;
    this.#change[2] = 0;
    return native().syscall(Sys.epollCtl, this.#fd, known ? CTL_MOD : CTL_ADD, fd, this.#change);
  }

  /** A descriptor that was closed meanwhile is gone already. */
  forget(fd: number): void {
    native().syscall(Sys.epollCtl, this.#fd, CTL_DEL, fd, this.#change);
  }

  /** How many events are there now, waiting for the first if asked; 0 also when a signal came. */
  wait(forFirst: boolean): number {
    const count = native().syscall(Sys.epollWait, this.#fd, this.#events, maxEvents, forFirst ? -1 : 0);
    if (count >= 0) return count;
    if (count === -Errno.EINTR) return 0;
    throw systemError('epoll_wait', count);
  }

  eventsOf(index: number): number {
    return this.#events[index * eventWords]!;
  }

  dataOf(index: number): number {
    return this.#events[index * eventWords + 1]!;
  }

  close(): void {
    closeFd(this.#fd);
  }
}
