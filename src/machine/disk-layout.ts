/** How a disk's content counts its blocks: a guest finds it only on a disk whose blocks are as large. Main thread. */
import type { BlockReader } from '../disk/block-reader.js';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import type { BlockSize } from '../virtio/blk/blk-format.js';

export interface DiskLayout {
  readonly blockSize: BlockSize;
  /** There is a table, or another boot sector: it is wrong on a disk with other blocks. */
  readonly fixed: boolean;
}

const gptSignature = 'EFI PART';
/** Types of the four entries of an MBR, and that which announces a GPT (UEFI 2.10 §5.2.3). */
const mbrTypes = [450, 466, 482, 498];
const protective = 0xee;

/** A disk without a GPT, or with one for 512-byte sectors as nearly all have, costs one look at its beginning. */
export async function layoutOf(image: BlockReader): Promise<DiskLayout> {
  const head = await image.read(0, Math.min(image.size, 4096 + gptSignature.length));
  const hasHeader = (at: number): boolean => head.toString('latin1', at, at + gptSignature.length) === gptSignature;
  const fixed = head[510] === 0x55 && head[511] === 0xaa;
  if (!mbrTypes.some((at) => head[at] === protective) || (hasHeader(512) && !hasHeader(4096)))
    return { blockSize: 512, fixed: fixed || hasHeader(512) };
  const { readPartitions } = await import('../boot/disk/partition-table.js');
  return { blockSize: (await readPartitions(image)).sectorSize, fixed: true };
}

/** What the guest is told: direct I/O cannot do less than its `unit`, and the content cannot do with more than its own. */
export function blockSizeFor(path: string, unit: number, { blockSize, fixed }: DiskLayout): BlockSize {
  if (unit <= blockSize) return blockSize;
  if (!fixed) return 4096; // openDirect knows one unit beyond a sector
  throw new TsvmmError(
    'ERR_TSVMM_DISK_FORMAT',
    `${quote(path)} counts in blocks of ${blockSize} bytes, and direct I/O goes by ${unit} bytes here`,
    {
      hint: "use cache: 'writeback', or keep the image on a device with 512-byte blocks",
      details: { path, blockSize: unit },
    },
  );
}
