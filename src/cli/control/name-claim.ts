/**
 * Who has a name: the process that holds the lock on `NAME.lock`. Main thread.
 *
 * A socket that is left over looks like any other, and between finding it dead and removing it another process may have put its
 * own there. So nobody makes or removes `NAME.sock` or `NAME.lock` without the lock (an OFD lock of fcntl(2), which ends with its
 * process however that ends). Since the lock's file is removed as well, whoever got a lock looks whether its file is still the
 * one of that name: if not, somebody else had the name meanwhile, and the file that is there now is tried.
 */
import {
  closeSync,
  constants,
  fstatSync,
  ftruncateSync,
  openSync,
  readFileSync,
  rmSync,
  statSync,
  writeSync,
} from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { lockFile } from '../../disk/file-lock.js';
import { TsvmmError } from '../../errors.js';
import { Errno, systemError } from '../../host/errno.js';
import { isListening } from './connect.js';
import type { Place } from './runtime-directory.js';

/** The sticky bit says that the file is in use however old it is (XDG Base Directory Specification). */
const lockMode = 0o1600;
/** What removes the files of a dead process has the lock for less than a millisecond; a process that starts or ends, too. */
const patience = { totalMs: 2000, everyMs: 10 };

export class NameClaim {
  readonly #place: Place;
  #fd: number | undefined;

  private constructor(place: Place, fd: number) {
    this.#place = place;
    this.#fd = fd;
  }

  /** Takes the name; undefined while another process has it. Throws `ERR_TSVMM_CONFIG` when its file cannot be made. */
  static take(place: Place): NameClaim | undefined {
    try {
      return NameClaim.#take(place);
    } catch (error) {
      if (error instanceof TsvmmError) throw error;
      const { code, message } = error as NodeJS.ErrnoException;
      throw new TsvmmError('ERR_TSVMM_CONFIG', `${place.lock} cannot be made and locked (${code ?? message})`, {
        cause: error,
      });
    }
  }

  static #take(place: Place): NameClaim | undefined {
    for (;;) {
      const fd = openSync(place.lock, constants.O_RDWR | constants.O_CREAT | constants.O_NOFOLLOW, lockMode);
      let isTaken = false;
      try {
        const result = lockFile(fd, 'write');
        if (result === -Errno.EAGAIN) return undefined;
        if (result < 0) throw systemError('fcntl(F_OFD_SETLK)', result);
        if (!isAt(fd, place.lock)) continue;
        ftruncateSync(fd);
        writeSync(fd, `${process.pid}\n`, 0);
        isTaken = true;
        return new NameClaim(place, fd);
      } finally {
        if (!isTaken) closeSync(fd);
      }
    }
  }

  /** Removes what a process before us left: with the name it is ours. */
  removeStale(): void {
    rmSync(this.#place.socket, { force: true });
  }

  /** Removes the files and gives the name up, also when they cannot be removed, which is thrown. Idempotent. */
  release(): void {
    const fd = this.#fd;
    if (fd === undefined) return;
    this.#fd = undefined;
    try {
      if (!isAt(fd, this.#place.lock)) return; // removed by hand, and perhaps somebody else's by now
      this.removeStale();
      rmSync(this.#place.lock, { force: true });
    } finally {
      closeSync(fd);
    }
  }
}

/** The open file is the one that has this path. */
function isAt(fd: number, path: string): boolean {
  const [mine, there] = [fstatSync(fd), statSync(path, { throwIfNoEntry: false })];
  return there !== undefined && mine.dev === there.dev && mine.ino === there.ino;
}

/** The process that has the name, as it wrote itself down. */
export function holderOf({ lock }: Place): number | undefined {
  try {
    const pid = /^(\d{1,10})\n$/.exec(readFileSync(lock, 'latin1'))?.[1];
    return pid === undefined ? undefined : Number(pid);
  } catch {
    return undefined; // it has just ended, or has not written yet
  }
}

/** Takes the name for good; throws `ERR_TSVMM_CONFIG` when a machine has it. */
export async function claimName(place: Place, name: string): Promise<NameClaim> {
  for (let waited = 0; ; waited += patience.everyMs) {
    const claim = NameClaim.take(place);
    if (claim !== undefined) return claim;
    if (waited >= patience.totalMs || (await isListening(place.socket))) throw inUse(name, holderOf(place));
    await delay(patience.everyMs);
  }
}

const inUse = (name: string, pid: number | undefined): TsvmmError =>
  new TsvmmError(
    'ERR_TSVMM_CONFIG',
    `the name ${name} is in use by ${pid === undefined ? 'another process' : `pid ${pid}`}`,
    {
      hint: `choose another --name, or end that machine first: tsvmm stop ${name}`,
    },
  );

/** Removes what a killed process left under a name; false if a process has it. Throws Node's error if it cannot. */
export function removeIfStale(place: Place): boolean {
  const claim = NameClaim.take(place);
  claim?.release();
  return claim !== undefined;
}
