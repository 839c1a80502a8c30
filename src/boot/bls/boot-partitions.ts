/**
 * The partitions on which firmware and boot loaders look for entries (UAPI.1 "The Partitions"). Main thread.
 */
import type { Volume } from '../entries/volume.js';

/** EFI System Partition, and Extended Boot Loader Partition: GPT type or MBR type. */
const espTypes = ['c12a7328-f81f-11d2-ba4b-00a0c93ec93b', 'mbr:ef'];
const xbootldrTypes = ['bc13c2ff-59e6-4262-a352-b275fd6f7172', 'mbr:ea'];

export interface BootPartitions {
  readonly esp: Volume | undefined;
  readonly xbootldr: Volume | undefined;
}

/**
 * The first of each. A disk without a partition of the type, as removable media often are, boots from a FAT file system
 * with an EFI directory.
 */
export async function findBootPartitions(volumes: readonly Volume[]): Promise<BootPartitions> {
  const typed = (types: readonly string[]): Volume | undefined =>
    volumes.find(({ partitionType }) => types.includes(partitionType));
  return { esp: typed(espTypes) ?? (await removable(volumes)), xbootldr: typed(xbootldrTypes) };
}

async function removable(volumes: readonly Volume[]): Promise<Volume | undefined> {
  for (const volume of volumes) {
    if (volume.fs.type.startsWith('fat') && (await volume.fs.stat('/EFI'))?.kind === 'directory') return volume;
  }
  return undefined;
}
