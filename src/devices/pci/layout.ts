/**
 * Where PCI functions live in machine state, and their power-on values. Any thread; the layout is pure.
 */
import { TsvmmError } from '../../errors.js';
import { pciSlots } from '../memory-map.js';
import { type BarWindows, placeBars } from './bar-placement.js';
import { setBar } from './bars.js';
import { BarHalf, Command, PciBusMap, PciFunctionMap, PciRegister } from './registers.js';
import { configTemplate, type FunctionSpec } from './template.js';

/** Plain data: posted to workers. The function of slot n is number n. */
export interface PciLayout {
  readonly bus: number;
  readonly functions: readonly number[];
  /** Power-on addresses of each function's BARs, in the order of its specification. */
  readonly barAddresses: readonly (readonly number[])[];
  readonly end: number;
}

export function layoutPci(specs: readonly FunctionSpec[], windows: BarWindows, base: number): PciLayout {
  if (specs.length > pciSlots) {
    throw new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `${specs.length - 1} devices, but the PCI bus has room for ${pciSlots - 1}`,
      {
        hint: 'give the machine fewer devices',
      },
    );
  }
  const functions = specs.map((_, slot) => base + PciBusMap.size + slot * PciFunctionMap.size);
  const end = base + PciBusMap.size + specs.length * PciFunctionMap.size;
  return { bus: base, functions, barAddresses: placeBars(specs, windows), end };
}

/**
 * Power-on values, as firmware leaves them: BARs placed and decoded, so that a guest without a PCI allocator finds its
 * devices; bus mastering is the driver's to turn on.
 */
export function resetPci(buffer: ArrayBufferLike, layout: PciLayout, specs: readonly FunctionSpec[]): void {
  const bus = PciBusMap.over(buffer, layout.bus);
  bus.configAddress = 0;
  bus.resetControl = 0;
  Atomics.add(bus.generation, 0, 1); // every vCPU looks again
  specs.forEach((spec, slot) => {
    const registers = PciFunctionMap.over(buffer, layout.functions[slot]!);
    registers.config.set(configTemplate(spec).initial);
    registers.barHalves.fill(BarHalf.same);
    registers.barAddresses.fill(0);
    spec.bars.forEach((bar, i) => {
      setBar(registers, bar, layout.barAddresses[slot]![i]!);
    });
    if (spec.bars.length > 0) registers.config[PciRegister.command] = Command.memory;
  });
}
