/** How large a machine is to be, for `tsvmm ps`. Main thread. */
import { topology } from '../../machine/cpu-options.js';
import type { VmOptions } from '../../machine/options.js';
import { parseSize } from '../../machine/units.js';

interface Sizes {
  readonly memory: number;
  readonly cpus: number;
}

/** Throws `ERR_TSVMM_CONFIG` for vCPUs that cannot be, as the start would. */
export function sizesOf({ memory, cpus, topology: shape }: VmOptions): Sizes {
  const { sockets, cores, threads } = topology(cpus, shape);
  const size = typeof memory === 'object' ? memory.size : memory;
  return { memory: parseSize('memory', size), cpus: sockets * cores * threads };
}

/** Of a machine that is restored; rejects as `Snapshot.open` does. */
export async function sizesIn(directory: string): Promise<Sizes> {
  const { Snapshot } = await import('../../machine/snapshot.js');
  await using snapshot = await Snapshot.open(directory);
  return { memory: snapshot.memory.size, cpus: snapshot.opened.vcpus };
}
