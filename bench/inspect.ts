/**
 * What a 20 GiB disk would boot, found and read: a GPT with an EFI System Partition and a Debian-like root on ext4, whose
 * kernel and initrd have the size of real ones. In a running process, the image in the host's page cache.
 *
 * The peer does with the distributions' tools what a script would do: sfdisk for the partition table, debugfs for the
 * configuration and the two files. `bytes-read` is what is read of the image against the two files' sizes.
 */
import { spawnSync } from 'node:child_process';
import { chooseEntry, findBootEntries, loadEntry } from '../src/boot/disk-boot.js';
import { ramRegions } from '../src/devices/memory-map.js';
import type { BlockReader } from '../src/disk/block-reader.js';
import { openRawImage } from '../src/disk/raw-image.js';
import { BootMemory } from '../src/machine/boot-memory.js';
import { GuestRam } from '../src/memory/ram.js';
import type { Bench } from './harness.js';
import { type BootDisk, bootDisk, missingTools } from './images/boot-disk.js';

let disk: BootDisk | undefined;
const image = (): BootDisk => {
  disk ??= bootDisk();
  return disk;
};

const mebibyte = 2 ** 20;
/** As a boot does it: kernel and initrd are read into the memory of a guest. */
const memorySize = 512 * mebibyte;

/** Bytes read of the image, and how long it took. */
async function inspect({ path, kernelSize, initrdSize }: BootDisk): Promise<{ bytes: number; ms: number }> {
  const ram = GuestRam.map(memorySize);
  const memory = new BootMemory(ram.place(ramRegions(memorySize)));
  try {
    const begun = performance.now();
    await using reader = await openRawImage(path);
    const counting = new CountingReader(reader);
    const inspection = await findBootEntries(counting);
    const { kernel, initrd } = await loadEntry(inspection, chooseEntry(inspection), memory);
    const ms = performance.now() - begun;
    if (kernel.length !== kernelSize || initrd?.length !== initrdSize) throw new Error('not the files of the disk');
    return { bytes: counting.bytes, ms };
  } finally {
    memory.release();
    ram.release();
  }
}

class CountingReader implements BlockReader {
  readonly size: number;
  readonly #reader: BlockReader;
  bytes = 0;

  constructor(reader: BlockReader) {
    this.#reader = reader;
    this.size = reader.size;
  }

  read(offset: number, length: number): Promise<Buffer> {
    this.bytes += length;
    return this.#reader.read(offset, length);
  }

  readInto(offset: number, into: Uint8Array): Promise<void> {
    this.bytes += into.length;
    return this.#reader.readInto(offset, into);
  }
}

function withTools({ path, rootOffset, kernelPath, initrdPath }: BootDisk): number {
  const begun = performance.now();
  const run = (tool: string, ...args: string[]): void => {
    const { status, stderr } = spawnSync(tool, args, { stdio: ['ignore', 'ignore', 'pipe'] });
    if (status !== 0) throw new Error(`${tool}: ${stderr}`);
  };
  run('sfdisk', '--json', path);
  for (const file of ['/boot/grub/grub.cfg', kernelPath, initrdPath])
    run('debugfs', '-R', `dump ${file} /dev/null`, `${path}?offset=${rootOffset}`);
  return performance.now() - begun;
}

export const bench: Bench = {
  name: 'inspect',
  summary: 'boot files of a 20 GiB disk image found and read, against sfdisk and debugfs',
  unavailable: async () => missingTools(),
  cases: () => [
    {
      name: 'find-and-read',
      unit: 'ms',
      ours: async () => (await inspect(image())).ms,
      peer: { name: 'sfdisk, debugfs', measure: () => withTools(image()) },
    },
    {
      name: 'bytes-read',
      unit: 'MiB',
      ours: async () => (await inspect(image())).bytes / mebibyte,
      peer: { name: 'the files', measure: () => (image().kernelSize + image().initrdSize) / mebibyte },
      runs: 1,
      warmUp: 0,
    },
  ],
  close: async () => disk?.remove(),
};
