/** Writes the machine of a snapshot as a crash dump (core-file.ts). Main thread; libuv's threads read, compare and write. */
import { unlink } from 'node:fs/promises';
import { resolve } from 'node:path';
import { coreHead } from './core-file.js';
import { newFile, writeFully } from './file-io.js';
import type { OpenSnapshot } from './open-snapshot.js';
import { Progress, type WorkOptions } from './progress.js';
import { SnapshotSource } from './ram-source.js';
import { alreadyThere, notRemoved, unwritten } from './snapshot-error.js';
import { writeSparse } from './sparse-file.js';

/**
 * Makes the file `path`, which must not exist; RAM is compared with its digests on the way. Rejects with
 * `ERR_TSVMM_SNAPSHOT`, or with the reason of `signal`, and nothing is left of it.
 */
export function writeCrashDump(snapshot: OpenSnapshot, path: string, options: WorkOptions = {}): Promise<void> {
  return snapshot.use(() => dump(snapshot, path, options));
}

async function dump(snapshot: OpenSnapshot, path: string, options: WorkOptions): Promise<void> {
  const { signal } = options;
  signal?.throwIfAborted();
  const { regions } = snapshot.manifest.memory;
  const head = coreHead(
    regions,
    Array.from({ length: snapshot.vcpus }, (_, cpu) => snapshot.registers(cpu)),
  );
  const ram = await SnapshotSource.open(snapshot);
  const progress = new Progress(options);
  progress.expect(ram.size);
  const place = resolve(path);
  let made = false;
  try {
    await newFile(place, async (fd) => {
      made = true;
      await writeSparse({ fd, offset: head.length }, ram, progress);
      await writeFully(fd, head, 0); // last: without it this is no ELF file
    });
  } catch (error) {
    const taken = (error as NodeJS.ErrnoException).code === 'EEXIST';
    const why = signal?.aborted ? signal.reason : taken ? alreadyThere(place) : unwritten(place, error);
    if (made) await unlink(place).catch((cause) => Promise.reject(notRemoved(place, why, cause)));
    throw why;
  }
}
