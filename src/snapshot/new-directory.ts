/**
 * A directory that is there as a whole or not at all (traps T36, T49). Main thread.
 *
 * It is filled beside its place under a name that is never opened, made durable, and renamed. So whatever happens meanwhile,
 * SIGKILL, a full disk, a power cut, its place is empty or has all of it. What is there already stays.
 */
import { lstat, mkdir, rename, rm } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import { syncDirectory } from './file-io.js';
import { isUnfinished, temporaryName } from './names.js';
import { alreadyThere, notRemoved, unwritten } from './snapshot-error.js';

/** `fill` makes its files durable. Rejects with everything as it was. */
export async function newDirectory(
  path: string,
  fill: (temporary: string) => Promise<void>,
  signal: AbortSignal | undefined,
): Promise<void> {
  signal?.throwIfAborted();
  const place = resolve(path);
  if (isUnfinished(place)) throw reserved(place);
  await refuseExisting(place);
  let made = temporaryName(place);
  try {
    await mkdir(made, 0o700);
    await fill(made);
    await syncDirectory(made);
    await refuseExisting(place);
    signal?.throwIfAborted();
    // Onto something that has come meanwhile: fails, unless that is an empty directory, in which nothing is lost.
    await rename(made, place).catch((error) => Promise.reject(isTaken(error) ? alreadyThere(place) : error));
    made = place;
    await syncDirectory(dirname(place));
  } catch (error) {
    const why = signal?.aborted ? signal.reason : unwritten(place, error);
    await rm(made, { recursive: true, force: true }).catch((cause) => Promise.reject(notRemoved(made, why, cause)));
    throw why;
  }
}

const isTaken = ({ code = '' }: NodeJS.ErrnoException): boolean => ['ENOTEMPTY', 'EEXIST', 'ENOTDIR'].includes(code);

async function refuseExisting(place: string): Promise<void> {
  const status = await lstat(place).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return undefined;
    throw unwritten(place, error);
  });
  if (status !== undefined) throw alreadyThere(place);
}

const reserved = (place: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_SNAPSHOT', `${quote(place)} is a name for snapshots that are not whole yet`, {
    hint: 'give another name',
  });
