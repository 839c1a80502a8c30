/** Faults guest RAM in ahead of the guest (MADV_POPULATE_WRITE, Linux 5.14). vCPU worker. */
import { TsvmmError } from '../errors.js';
import { Errno, errnoName } from '../host/errno.js';
import { Sys, syscall } from '../host/system.js';

/** Of this process. */
export interface HostRange {
  readonly address: number;
  readonly length: number;
}

const MADV_POPULATE_READ = 22;
const MADV_POPULATE_WRITE = 23;

/**
 * All pages of the range are there afterwards, private ones with `writes`; their content stays. Throws `ERR_TSVMM_CONFIG`.
 */
export function populate(hostAddress: number, length: number, writes: boolean): void {
  const result = syscall(Sys.madvise, hostAddress, length, writes ? MADV_POPULATE_WRITE : MADV_POPULATE_READ);
  if (result >= 0) return;
  if (result === -Errno.EINVAL) {
    throw new TsvmmError('ERR_TSVMM_CONFIG', 'memory.prefault: this kernel cannot fault memory in ahead', {
      hint: 'leave it out, or use Linux 5.14 or newer',
    });
  }
  throw new TsvmmError(
    'ERR_TSVMM_CONFIG',
    `memory.prefault: the host could not supply all of the guest's memory: ${errnoName(result)}`,
    { hint: 'ask for less memory, or leave out prefault; tsvmm doctor shows what there is' },
  );
}
