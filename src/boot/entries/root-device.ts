/**
 * Which partition holds the root file system, for kernels found without a boot configuration. Main thread.
 */
import { TsvmmError } from '../../errors.js';
import type { Partition } from '../disk/partition-table.js';
import type { Volume } from './volume.js';

/** "Root partition, x86-64" of the Discoverable Partitions Specification. */
const rootTypeX86 = '4f68bce3-e8cd-4db1-96e7-fbcaf984b709';
/** Any of these makes a file system a root. */
const rootMarks = ['/sbin/init', '/usr/lib/systemd/systemd', '/etc/fstab', '/etc/os-release', '/etc/inittab'];

/** A disk signature of 0 is none (Linux: no PARTUUID links then). */
const noSignature = '00000000-';

export interface Root {
  /** Where it can be read; undefined if its file system is not one that is read here. */
  readonly volume: Volume | undefined;
  readonly partition: number;
  readonly partitionUuid: string;
}

/**
 * The root for a kernel on `kernelVolume`: that volume itself, another that looks like a root, or a partition whose type
 * says so.
 */
export async function findRoot(
  kernelVolume: Volume,
  volumes: readonly Volume[],
  partitions: readonly Partition[],
): Promise<Root | undefined> {
  for (const volume of new Set([kernelVolume, ...volumes])) {
    if (await looksLikeRoot(volume))
      return { volume, partition: volume.partition, partitionUuid: volume.partitionUuid };
  }
  const typed = partitions.find(({ type, uuid }) => type === rootTypeX86 && uuid !== '');
  return typed === undefined ? undefined : { volume: undefined, partition: typed.index, partitionUuid: typed.uuid };
}

/** `root=...`. A PARTUUID is found by the kernel alone; a file system's UUID only by an initrd. */
export function rootArgument({ volume, partition, partitionUuid }: Root, hasInitrd: boolean): string {
  if (partitionUuid !== '' && !partitionUuid.startsWith(noSignature)) return `root=PARTUUID=${partitionUuid}`;
  if (hasInitrd && volume !== undefined && volume.fs.uuid !== '') return `root=UUID=${volume.fs.uuid}`;
  // The boot disk is the guest's first virtio-blk disk.
  return `root=/dev/vda${partition === 0 ? '' : partition}`;
}

async function looksLikeRoot({ fs }: Volume): Promise<boolean> {
  if (fs.type.startsWith('fat')) return false;
  try {
    for (const path of rootMarks) if ((await fs.stat(path)) !== undefined) return true;
  } catch (error) {
    // Damage here is reported where this volume's own kernels are looked for.
    if (!(error instanceof TsvmmError)) throw error;
  }
  return false;
}
