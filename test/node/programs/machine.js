/** A running machine of a tiny guest for the programs beside this: with two vCPUs and, by its disk, an I/O worker. */
import { truncateSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

export const guestFile = (name) => fileURLToPath(new URL(`../../../build/guests/${name}.elf`, import.meta.url));

/** An image that takes no room, in a folder that the caller names and removes. */
export function sparseDisk(folder, size = 1 << 20) {
  const path = join(folder, 'disk.img');
  writeFileSync(path, '');
  truncateSync(path, size);
  return path;
}

/** Resolves when the guest runs: "halt" is idle, "spin" keeps both vCPUs busy; "none" is no machine at all. */
export async function startMachine(guest, disk) {
  const { VirtualMachine } = await import('tsvmm');
  if (guest === 'none') return undefined;
  const vm = await VirtualMachine.start({
    memory: '32M',
    cpus: 2,
    boot: { kernel: guestFile(guest) },
    disks: [{ path: disk, ephemeral: true }],
  });
  await delay(50); // both vCPUs are in the guest
  return vm;
}
