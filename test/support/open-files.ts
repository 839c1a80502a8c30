/** A limit of open files for this process, as with `ulimit -n`. */
import { syscall } from '../../src/host/system.js';

const prlimit64 = 302;
const RLIMIT_NOFILE = 7;

/** For as long as it takes. */
export async function withOpenFiles<T>(most: number, task: () => T | Promise<T>): Promise<T> {
  const old = new BigUint64Array(2);
  syscall(prlimit64, 0, RLIMIT_NOFILE, undefined, old);
  syscall(prlimit64, 0, RLIMIT_NOFILE, BigUint64Array.of(BigInt(most), old[1]!));
  try {
    return await task();
  } finally {
    syscall(prlimit64, 0, RLIMIT_NOFILE, old);
  }
}
