/**
 * Locks on open disk images: OFD locks over the whole file (fcntl(2), "Open file description locks"). Main thread.
 *
 * They belong to the open file, not to the process: two machines in one program exclude each other, a worker may close
 * other descriptors of the file, and kill -9 leaves nothing behind. QEMU and qemu-img take the same kind.
 */
import { readdir, readFile, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Errno } from '../host/errno.js';
import { Sys, syscall } from '../host/system.js';

const F_OFD_SETLK = 37;
const F_RDLCK = 0;
const F_WRLCK = 1;
/** struct flock: type u16, whence u16, start u64, length u64 (0: to the end, however far), pid u32 (must be 0). */
const flockSize = 32;

export type LockKind = 'read' | 'write';

/** Takes the lock or leaves it: 0, -EAGAIN when somebody else holds one that excludes it, or another -errno. */
export function lockFile(fd: number, kind: LockKind): number {
  const flock = new DataView(new ArrayBuffer(flockSize));
  flock.setUint16(0, kind === 'write' ? F_WRLCK : F_RDLCK, true);
  const result = syscall(Sys.fcntl, fd, F_OFD_SETLK, flock);
  return result === -Errno.EACCES ? -Errno.EAGAIN : result; // POSIX allows either
}

/** Processes are looked at in this number at most: it is only for an error message. */
const maxProcesses = 10_000;

/**
 * Who has the file open with a lock on it, as far as this user may see: "qemu-system-x86 (pid 123)". The kernel does not
 * tell the holder of an OFD lock, but /proc/PID/fdinfo shows which descriptors have one.
 */
export async function lockHolder(path: string): Promise<string | undefined> {
  const file = await stat(path).catch(() => undefined);
  const processes = (await readdir('/proc').catch(() => [])).filter((name) => /^\d+$/.test(name));
  if (file === undefined) return undefined;
  for (const pid of processes.slice(0, maxProcesses)) {
    if (!(await hasLocked(pid, file.dev, file.ino))) continue;
    if (Number(pid) === process.pid) return `this process (pid ${pid})`;
    const name = await readFile(`/proc/${pid}/comm`, 'utf8').catch(() => 'a process');
    return `${name.trim()} (pid ${pid})`;
  }
  return undefined;
}

/** Processes of other users, and those that have just ended, say nothing. */
async function hasLocked(pid: string, device: number, inode: number): Promise<boolean> {
  const folder = `/proc/${pid}/fd`;
  for (const fd of await readdir(folder).catch(() => [])) {
    const file = await stat(join(folder, fd)).catch(() => undefined);
    if (file?.dev !== device || file.ino !== inode) continue;
    const info = await readFile(`/proc/${pid}/fdinfo/${fd}`, 'utf8').catch(() => '');
    if (/^lock:/m.test(info)) return true;
  }
  return false;
}
