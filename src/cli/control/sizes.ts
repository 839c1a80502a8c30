/** How large a machine is to be, for `tsvmm ps`. Main thread; pure. */
import { topology } from '../../machine/cpu-options.js';
import type { VmOptions } from '../../machine/options.js';
import { parseSize } from '../../machine/units.js';

/** Throws `ERR_TSVMM_CONFIG` for vCPUs that cannot be, as the start would. */
export function sizesOf({ memory, cpus, topology: shape }: VmOptions): { memory: number; cpus: number } {
  const { sockets, cores, threads } = topology(cpus, shape);
  const size = typeof memory === 'object' ? memory.size : memory;
  return { memory: parseSize('memory', size), cpus: sockets * cores * threads };
}
