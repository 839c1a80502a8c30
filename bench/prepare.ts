/**
 * A disk boot's preparation, from the closed image to kernel, initrd and tables in the memory of a guest, against `cat` of
 * the same bytes from plain files. The image and the files are in the host's page cache; the guest's memory is fresh.
 */
import { spawnSync } from 'node:child_process';
import { chooseEntry, findBootEntries, loadEntry } from '../src/boot/disk-boot.js';
import { buildBootImage } from '../src/boot/linux/build.js';
import { ramRegions } from '../src/devices/memory-map.js';
import { openRawImage } from '../src/disk/raw-image.js';
import { BootMemory } from '../src/machine/boot-memory.js';
import { GuestRam } from '../src/memory/ram.js';
import type { Bench } from './harness.js';
import { type BootDisk, bootDisk, missingTools } from './images/boot-disk.js';

const memorySize = 512 * 2 ** 20;
let disk: BootDisk | undefined;
const made = (): BootDisk => {
  disk ??= bootDisk();
  return disk;
};

async function prepare(path: string): Promise<number> {
  const ram = GuestRam.map(memorySize);
  const memory = new BootMemory(ram.place(ramRegions(memorySize)));
  try {
    const begun = performance.now();
    const reader = await openRawImage(path);
    const inspection = await findBootEntries(reader);
    const { kernel, initrd, cmdline } = await loadEntry(inspection, chooseEntry(inspection), memory);
    memory.load(buildBootImage({ kernel, initrd, cmdline, ram: ramRegions(memorySize) }));
    await reader.close();
    return performance.now() - begun;
  } finally {
    memory.release();
    ram.release();
  }
}

function cat(files: readonly string[]): number {
  const begun = performance.now();
  const { status } = spawnSync('cat', [...files], { stdio: 'ignore' });
  if (status !== 0) throw new Error(`cat ended with ${status}`);
  return performance.now() - begun;
}

export const bench: Bench = {
  name: 'prepare',
  summary: "kernel and initrd from a disk image into a guest's memory, against cat of the same bytes",
  unavailable: async () => missingTools(),
  cases: () => [
    {
      name: 'disk-to-memory',
      unit: 'ms',
      ours: () => prepare(made().path),
      peer: { name: 'cat', measure: () => cat(made().files) },
      runs: 31,
      warmUp: 5,
    },
  ],
  close: async () => disk?.remove(),
};
