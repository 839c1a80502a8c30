/**
 * Files that only this process has: what ephemeral disks write, and what frozen disks keep. And what is known of the file
 * system of a file. Main thread.
 */
import { constants } from 'node:fs';
import { statfs } from 'node:fs/promises';
import { join } from 'node:path';
import { TsvmmError } from '../errors.js';
import { randomBytes } from '../host/random.js';
import { closeFd, openFd, pathOf, removeFile, setSize } from './file-calls.js';

const O_TMPFILE = 0o20_200_000;
const temporaryDirectories = ['/var/tmp', '/tmp'] as const;

/** Magic numbers of file systems (statfs(2)) whose buffered writes are quick and cannot be asked not to block: ext4, tmpfs. */
const briefFileSystems: readonly number[] = [0xef53, 0x0102_1994];

/** Those that free each block by itself: ext4, XFS, tmpfs. */
const freeingFileSystems: readonly number[] = [0xef53, 0x5846_5342, 0x0102_1994];

/** What is known of the file system of an open file. */
export async function fileSystemOf(fd: number): Promise<{ readonly brief: boolean; readonly freeing: boolean }> {
  const { type, bsize } = await statfs(pathOf(fd));
  return { brief: briefFileSystems.includes(type), freeing: freeingFileSystems.includes(type) && bsize === 4096 };
}

export interface TemporaryFile {
  readonly fd: number;
  /** Where it has been made. */
  readonly directory: string;
  /** Of its file system: writes are quick and cannot be asked not to block, and a block that becomes a hole is free. */
  readonly writesBriefly: boolean;
  readonly givesBack: boolean;
}

/** A file that nobody can find and that is gone when it is closed: a hole. `what` it is for goes into the message. */
export async function openTemporary(what: string, size: number, directory?: string): Promise<TemporaryFile> {
  const tried: string[] = [];
  let cause: unknown;
  for (const candidate of directory === undefined ? temporaryDirectories : [directory]) {
    try {
      const fd = await openFd(candidate, O_TMPFILE | constants.O_RDWR, 0o600).catch((cause) =>
        openUnlinked(candidate, cause),
      );
      // What the guest discards or zeroes is read there as well, with nothing written behind it.
      try {
        await setSize(fd, size);
        const { brief, freeing } = await fileSystemOf(fd);
        return { fd, directory: candidate, writesBriefly: brief, givesBack: freeing };
      } catch (cause) {
        await closeFd(fd);
        throw cause;
      }
    } catch (error) {
      cause = error;
      tried.push(`${candidate}: ${error instanceof Error ? error.message : String(error)}`);
    }
  }
  throw new TsvmmError('ERR_TSVMM_DISK_IO', `no place for ${what}:\n  ${tried.join('\n  ')}`, {
    hint: 'make one of these places one that you may write to',
    cause,
  });
}

/** For file systems without O_TMPFILE. */
async function openUnlinked(directory: string, cause: NodeJS.ErrnoException): Promise<number> {
  if (cause.code !== 'EOPNOTSUPP' && cause.code !== 'EISDIR') throw cause;
  const path = join(directory, `tsvmm-${randomBytes(12).toString('hex')}`);
  const fd = await openFd(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL, 0o600);
  await removeFile(path);
  return fd;
}
