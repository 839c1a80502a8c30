/** How many vCPUs, in which sockets and cores, and of which kind: options checked. Main thread. */
import { apicIds, type CpuTopology, maxApicId } from '../kvm/cpu-topology.js';
import type { CpuChoice } from '../kvm/cpuid.js';
import { bad, hasOptions, integer, known, text } from './checks.js';
import { show } from './units.js';

/** One part that is not given follows from `cpus`: cores first, then sockets, then threads; else it is 1. */
export interface TopologyOptions {
  sockets?: number | undefined;
  /** In each socket. */
  cores?: number | undefined;
  /** In each core. */
  threads?: number | undefined;
}

/** APIC ids are one byte wide without x2APIC routing; 255 is the broadcast id. */
export const maxCpus = maxApicId;

const parts = ['sockets', 'cores', 'threads'] as const;
/** Which part takes up what the others leave of `cpus`, as QEMU's -smp has it. */
const flexible = ['cores', 'sockets', 'threads'] as const;

export function topology(cpus: unknown, value: unknown): CpuTopology {
  if (cpus !== undefined) integer('cpus', cpus, 1, maxCpus);
  if (value === undefined) return { sockets: 1, cores: (cpus as number | undefined) ?? 1, threads: 1 };
  if (!hasOptions(value)) throw bad(`topology: ${show(value)} is not possible`, 'pass { sockets, cores, threads }');
  known('topology', value, parts);
  const given = value as Record<(typeof parts)[number], unknown>;
  const shape = { sockets: 1, cores: 1, threads: 1 };
  for (const part of parts) {
    if (given[part] !== undefined) shape[part] = integer(`topology.${part}`, given[part], 1, maxCpus);
  }
  const product = (): number => shape.sockets * shape.cores * shape.threads;
  if (cpus !== undefined) {
    const open = flexible.find((part) => given[part] === undefined);
    if (open !== undefined && (cpus as number) % product() === 0) shape[open] = (cpus as number) / product();
    if (product() !== cpus) {
      throw bad(
        `topology: ${words(shape)} is not ${cpus} vCPUs`,
        'sockets times cores times threads are the number of vCPUs; leave out cpus or one of the parts to have it follow',
      );
    }
  }
  if (product() > maxCpus || apicIds(shape).at(-1)! > maxApicId) {
    throw bad(
      `topology: ${words(shape)} needs APIC ids above ${maxApicId}`,
      'ids are bit fields, so counts that are not powers of two waste some; use fewer vCPUs, or powers of two',
    );
  }
  return shape;
}

const words = ({ sockets, cores, threads }: CpuTopology): string =>
  `${sockets} sockets of ${cores} cores with ${threads} threads`;

export function cpu(value: unknown): CpuChoice {
  if (typeof value === 'string') return { model: value, add: [], remove: [] };
  if (!hasOptions(value)) throw bad(`cpu: ${show(value)} is not possible`, 'use "host" or { model, add, remove }');
  known('cpu', value, ['model', 'add', 'remove']);
  const { model = 'host', add = [], remove = [] } = value as { model?: unknown; add?: unknown[]; remove?: unknown[] };
  const names = (what: string, list: unknown[]): string[] => {
    if (!Array.isArray(list)) throw bad(`${what}: expected a list of feature names`, 'use the names of /proc/cpuinfo');
    return Array.from(list, (feature) => text(what, feature));
  };
  return { model: text('cpu.model', model), add: names('cpu.add', add), remove: names('cpu.remove', remove) };
}
