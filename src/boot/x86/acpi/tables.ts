/**
 * All ACPI tables of a machine, laid out at their place below 1 MiB (ACPI 6.5 §5.2). Main thread.
 */
import { acpiArea, generationId, type MemoryRegion, type Transport } from '../../../devices/memory-map.js';
import { TsvmmError } from '../../../errors.js';
import type { Segment } from '../../boot-image.js';
import { buildDsdt } from './dsdt.js';
import { buildFacs, buildFadt, FACS_ALIGN } from './fadt.js';
import { buildMadt } from './madt.js';
import { buildMcfg } from './mcfg.js';
import { buildRsdp, buildXsdt, RSDP_SIZE } from './root.js';

const TABLE_ALIGN = 16;

export interface AcpiConfig {
  /** APIC id of each vCPU, ascending; those of CPUID leaf 0xB. */
  readonly apicIds: readonly number[];
  /** Default `pci`; without a PCI bus there is neither a host bridge nor MCFG. */
  readonly transport?: Transport | undefined;
  /** How many virtio-mmio devices are announced. */
  readonly virtioMmio?: number | undefined;
  /** What `bar64Window` gave for this machine. */
  readonly bar64?: MemoryRegion | undefined;
  /** 16 bytes that no other machine has. */
  readonly generation: Uint8Array;
}

export interface AcpiTables {
  /** Guest-physical address of the RSDP. */
  readonly rsdp: number;
  readonly segments: readonly Segment[];
}

export function buildAcpiTables(config: AcpiConfig): AcpiTables {
  checkApicIds(config.apicIds);
  const area = new Uint8Array(acpiArea.size);
  let used = RSDP_SIZE;
  const put = (table: Uint8Array, align = TABLE_ALIGN): number => {
    const at = Math.ceil(used / align) * align;
    if (at + table.length > area.length) throw tooMany(config.apicIds.length);
    area.set(table, at);
    used = at + table.length;
    return acpiArea.start + at;
  };
  const facs = put(buildFacs(), FACS_ALIGN);
  const { apicIds, transport = 'pci', virtioMmio = 0, bar64 } = config;
  const dsdt = put(buildDsdt({ processors: apicIds.length, transport, virtioMmio, bar64 }));
  const tables = [put(buildFadt({ dsdt, facs })), put(buildMadt(apicIds))];
  if (transport === 'pci') tables.push(put(buildMcfg()));
  const xsdt = put(buildXsdt(tables));
  area.set(buildRsdp(xsdt), 0);
  return {
    rsdp: acpiArea.start,
    segments: [
      { name: 'ACPI tables', address: acpiArea.start, data: area.subarray(0, used) },
      { name: 'generation identifier', address: generationId.start, data: config.generation },
    ],
  };
}

/** x2APIC ids are 32 bits wide and all ones means "everybody". */
const APIC_ID_END = 0xffff_ffff;
/** C000 to CFFF in the DSDT. */
const MAX_PROCESSORS = 4096;

function checkApicIds(ids: readonly number[]): void {
  if (ids.length < 1) throw new TsvmmError('ERR_TSVMM_CONFIG', 'a machine needs at least one vCPU');
  if (ids.length > MAX_PROCESSORS) throw tooMany(ids.length);
  for (const [i, id] of ids.entries()) {
    const ascending = i === 0 || id > ids[i - 1]!;
    if (!Number.isInteger(id) || id < 0 || id >= APIC_ID_END || !ascending) {
      throw new TsvmmError('ERR_TSVMM_CONFIG', `APIC id ${id} of vCPU ${i} is no id above that of the vCPU before it`);
    }
  }
}

const tooMany = (count: number): TsvmmError =>
  new TsvmmError('ERR_TSVMM_CONFIG', `the ACPI tables of ${count} vCPUs do not fit below 1 MiB`, {
    hint: 'use fewer vCPUs',
  });
