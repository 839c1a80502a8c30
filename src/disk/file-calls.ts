/** Calls on descriptors as promises: node:fs has them for file handles alone, which no other thread could use. Main thread. */
import { close, fdatasync, fstat, ftruncate, open, unlink } from 'node:fs';
import { promisify } from 'node:util';

export const openFd = promisify(open);
export const closeFd = promisify(close);
export const fileStatus = promisify(fstat);
export const setSize = promisify(ftruncate);
export const syncData = promisify(fdatasync);
export const removeFile = promisify(unlink);

/** A descriptor by a name, of the same file even if that has no other. */
export const pathOf = (fd: number): string => `/proc/self/fd/${fd}`;
