/**
 * Which I/O engine this host allows: io_uring where it is permitted (kernel 5.7 and newer, not forbidden by seccomp or
 * kernel.io_uring_disabled), epoll elsewhere. The I/O worker.
 */
import { TsvmmError } from '../errors.js';
import type { IoEngine } from './engine.js';
import { EpollEngine, type StartHelper } from './epoll-engine.js';
import { Errno, errnoName, systemError } from './errno.js';
import { IoUringEngine } from './io-uring.js';

/** `auto` falls back; the others are for tests and for hosts where one misbehaves. */
export type EngineKind = 'auto' | 'io_uring' | 'epoll';

/** Throws `ERR_TSVMM_CONFIG` when io_uring was asked for by name and is not there. */
export function openEngine(kind: EngineKind, startHelper: StartHelper): IoEngine {
  if (kind === 'epoll') return new EpollEngine(startHelper);
  const engine = IoUringEngine.open();
  if (typeof engine !== 'number') return engine;
  if (engine === -Errno.EMFILE) throw systemError('io_uring_setup', engine); // not forbidden: the others need one as well
  if (kind === 'auto') return new EpollEngine(startHelper);
  throw new TsvmmError('ERR_TSVMM_CONFIG', `io_uring is not available: ${errnoName(engine)}`, {
    hint: 'leave the I/O engine to be chosen, or allow io_uring: sysctl kernel.io_uring_disabled=0',
  });
}
