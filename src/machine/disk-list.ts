/** Which disks a machine has: checked. Main thread. */
import { bad, type Path } from './checks.js';
import { Disk } from './disk.js';
import type { DiskOptions } from './disk-options.js';

/** PCI slots 1-31 hold the disks, the console and the entropy device. */
const maxDisks = 24;

export function diskList(value: unknown): Disk[] {
  if (!Array.isArray(value)) throw bad('disks: expected a list', 'pass ["disk.img"]');
  if (value.length > maxDisks) throw bad(`disks: ${value.length} are too many`, `a machine has at most ${maxDisks}`);
  // And not map, which leaves holes out.
  return Array.from(value, (disk: Path | DiskOptions | Disk, index) => {
    if (disk instanceof Disk) return disk;
    const options = typeof disk === 'string' || disk instanceof URL ? { path: disk } : disk;
    return Disk.ofOptions(`disks[${index}]`, options);
  });
}
