/**
 * Which BARs the MMIO bus decodes: one vCPU's view, rebuilt from configuration space when it has changed. vCPU worker.
 *
 * A BAR write on one vCPU must be seen by all. The writer adds 1 to the bus's generation; every vCPU compares it before it
 * dispatches and rebuilds its own bus. A guest may program nonsense: a BAR over RAM, over the platform's own ranges or
 * beyond the address width is not decoded, and of two that overlap the function with the lower number wins, with a warning
 * once per change.
 */
import type { Bus, BusDevice } from '../../bus/bus.js';
import { has } from '../bits.js';
import { endOf, type MemoryRegion } from '../memory-map.js';
import type { Wires } from '../wires.js';
import { barAddress } from './bars.js';
import type { PciFunction } from './function.js';
import { Command, command, type PciBusRegisters } from './registers.js';

interface Decoded {
  readonly start: number;
  readonly end: number; // exclusive
  readonly name: string;
  readonly device: BusDevice;
}

export class PciBars {
  readonly #functions: readonly PciFunction[];
  readonly #registers: PciBusRegisters;
  readonly #forbidden: readonly MemoryRegion[];
  readonly #addressLimit: number;
  readonly #wires: Wires;
  #generation: number | undefined;
  #mapped: Decoded[] = [];

  /** `forbidden` are RAM and the platform's own ranges; `addressLimit` is the first address the guest's CPU cannot form. */
  constructor(
    functions: readonly PciFunction[],
    registers: PciBusRegisters,
    forbidden: readonly MemoryRegion[],
    addressLimit: number,
    wires: Wires,
  ) {
    this.#functions = functions;
    this.#registers = registers;
    this.#forbidden = forbidden;
    this.#addressLimit = addressLimit;
    this.#wires = wires;
  }

  /** Brings `bus` up to date; before each dispatch, with the machine lock held. One comparison if nothing changed. */
  sync(bus: Bus): void {
    const generation = Atomics.load(this.#registers.generation, 0);
    if (generation === this.#generation) return;
    this.#generation = generation;
    for (const { device } of this.#mapped) bus.remove(device);
    this.#mapped = this.#resolve(Atomics.exchange(this.#registers.reportedGeneration, 0, generation) !== generation);
    for (const { start, end, device } of this.#mapped) bus.insert(start, end - start, device);
  }

  /** Where BAR `index` of the function is decoded now, or 0 if it is not. Reads configuration space anew. */
  addressOf(target: PciFunction, index: number): number {
    const device = target.behaviour.bars[target.template.spec.bars.findIndex((bar) => bar.index === index)];
    return this.#resolve(false).find((decoded) => decoded.device === device)?.start ?? 0;
  }

  #resolve(report: boolean): Decoded[] {
    const taken: Decoded[] = [];
    for (const { template, registers, behaviour } of this.#functions) {
      if (!has(command(registers), Command.memory)) continue;
      const { name, bars } = template.spec;
      for (let i = 0; i < bars.length; i++) {
        const start = barAddress(registers, bars[i]!.index);
        const end = start + bars[i]!.size;
        const obstacle = this.#obstacle(start, end, taken);
        if (obstacle === undefined) taken.push({ start, end, name, device: behaviour.bars[i]! });
        else if (report)
          this.#wires.warn(name, `driver: BAR ${bars[i]!.index} at 0x${start.toString(16)} is ${obstacle}`);
      }
    }
    return taken;
  }

  #obstacle(start: number, end: number, taken: readonly Decoded[]): string | undefined {
    if (end > this.#addressLimit) return 'beyond the address width';
    if (this.#forbidden.some((region) => start < endOf(region) && region.start < end))
      return 'over RAM or the platform';
    const other = taken.find((decoded) => start < decoded.end && decoded.start < end);
    return other === undefined ? undefined : `over ${other.name}`;
  }
}
