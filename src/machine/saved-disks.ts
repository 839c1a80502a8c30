/**
 * The disks of a machine in a snapshot: as files of it, or where they are, and as disks of the machine that is restored. Main
 * thread.
 *
 * A disk that is written is copied, unless the user would rather have the image itself; what cannot be written stays where it is.
 * The files of a snapshot never change: what a restored machine writes is its own, and goes with it.
 */
import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import type { DiskReference } from '../snapshot/manifest.js';
import type { OpenSnapshot } from '../snapshot/open-snapshot.js';
import { boolean, type Checked, integer, object, oneOf, optional, text } from '../snapshot/schema.js';
import { damaged } from '../snapshot/snapshot-error.js';
import type { SnapshotDisk } from '../snapshot/write-snapshot.js';
import { Disk } from './disk.js';
import { FrozenDisk } from './frozen-disk.js';
import type { OtherDisks } from './frozen-disks.js';
import { rateLimit } from './rate-limit-options.js';

export const diskPolicies = ['copy', 'reference'] as const;
export type DiskPolicy = (typeof diskPolicies)[number];

const most = Number.MAX_SAFE_INTEGER;
const rate = optional(integer(1, most));

/** How a machine had a disk, and what its driver knows of it. */
export const savedDrive = object({
  onError: oneOf('report', 'stop'),
  serial: optional(text(/^[^\0]{0,20}$/, 'a serial number')),
  removable: boolean,
  limit: optional(object({ bytesPerSecond: rate, bytesBurst: rate, opsPerSecond: rate, opsBurst: rate })),
  direct: boolean,
  readOnly: boolean,
  told: object({ size: integer(0, most), readOnly: boolean, blockSize: oneOf(512, 4096), ioSize: integer(512, most) }),
});
export type SavedDrive = Checked<typeof savedDrive>;

export function driveOf({ drive, told, content, size, readOnly }: FrozenDisk): SavedDrive {
  const { onError, serial, removable, limit } = drive;
  return {
    ...{ onError, removable, readOnly, direct: content?.facts.isDirect ?? false },
    ...(serial === undefined ? {} : { serial }),
    ...(limit === undefined ? {} : { limit: JSON.parse(JSON.stringify(limit)) as NonNullable<SavedDrive['limit']> }),
    told: told ?? { size, readOnly, blockSize: 512, ioSize: 512 },
  };
}

/** Throws `ERR_TSVMM_SNAPSHOT` for a disk that is in no image and is not to be copied. */
export function contentOf(frozen: FrozenDisk, index: number, policy: DiskPolicy): SnapshotDisk {
  const { content, reference, readOnly } = frozen;
  if (content === undefined) return { kind: 'empty' };
  if (reference !== undefined && (readOnly || policy === 'reference')) return { kind: 'reference', ...reference };
  if (policy === 'copy')
    return { kind: 'copy', digests: true, write: (path, { signal }) => frozen.writeTo(path, signal ? { signal } : {}) };
  throw new TsvmmError('ERR_TSVMM_SNAPSHOT', `what is in disk${index} is in no image that could be referred to`, {
    hint: "its writes are in a private file: leave out disks: 'reference', and the snapshot has a copy",
  });
}

/** Disks for one machine, those that it is to have instead of its own among them. */
export async function restoredDisks(
  snapshot: OpenSnapshot,
  drives: readonly SavedDrive[],
  others: OtherDisks,
): Promise<Disk[]> {
  const { disks } = snapshot.manifest;
  if (disks.length !== drives.length)
    throw damaged(snapshot.directory, `it has ${disks.length} disks, and says how a machine had ${drives.length}`);
  return Promise.all(
    drives.map(async (drive, index) => {
      const disk = others.get(index)?.() ?? (await restoredDisk(snapshot, drive, index));
      disk.assume(drive.told);
      return disk;
    }),
  );
}

async function restoredDisk(snapshot: OpenSnapshot, drive: SavedDrive, index: number): Promise<Disk> {
  const { onError, serial, removable, limit, direct, readOnly, told } = drive;
  const entry = snapshot.manifest.disks[index]!;
  const options = { onError, serial, removable, limit };
  if (entry.kind === 'empty')
    return Disk.ofFrozen(
      new FrozenDisk({ drive: { ...options, limit: rateLimit(`disks[${index}].limit`, limit) }, told }),
    );
  const what = `disks[${index}]`;
  if (entry.kind === 'copy') {
    const path = join(snapshot.directory, entry.file);
    return Disk.ofOptions(what, {
      ...options,
      path,
      format: 'raw',
      ...(readOnly ? { readOnly } : { ephemeral: true }),
    });
  }
  await checkOwn(snapshot, index);
  await checkUnchanged(entry, index);
  const cache = direct ? 'direct' : 'writeback';
  return Disk.ofOptions(what, { ...options, path: entry.path, format: 'raw', readOnly, cache });
}

/** Whoever made a snapshot says which file its guest writes to: only to its owner's own words that is his to say. */
async function checkOwn({ directory }: OpenSnapshot, index: number): Promise<void> {
  if ((await stat(directory)).uid === process.geteuid?.()) return;
  throw new TsvmmError(
    'ERR_TSVMM_SNAPSHOT',
    `${quote(directory)} is not yours, and names a file of this host for disk${index}`,
    {
      hint: `give the machine a disk instead: disks: { ${index}: "image" }`,
    },
  );
}

/** A guest that goes on with another content of its disk would destroy it. */
async function checkUnchanged({ path, size, dev, ino, mtimeNs }: DiskReference, index: number): Promise<void> {
  const hint = `give the machine a disk that has the content of then: disks: { ${index}: "image" }`;
  const refuse = (says: string, cause?: unknown): TsvmmError =>
    new TsvmmError('ERR_TSVMM_SNAPSHOT', `${quote(path)}, which was disk${index} of the machine, ${says}`, {
      hint,
      cause,
    });
  const now = await stat(path, { bigint: true }).catch((cause) => {
    throw refuse(`cannot be found: ${(cause as NodeJS.ErrnoException).code}`, cause);
  });
  if (`${now.dev}` !== dev || `${now.ino}` !== ino) throw refuse('is another file now');
  if (Number(now.size) !== size || `${now.mtimeNs}` !== mtimeNs) throw refuse('has been written since');
}
