/** A PCI function without a device behind it, and the bus state around it, for tests. */
import type { AccessSize, BusDevice } from '../../../../src/bus/bus.js';
import { type FunctionBehaviour, PciFunction } from '../../../../src/devices/pci/function.js';
import { layoutPci, resetPci } from '../../../../src/devices/pci/layout.js';
import { PciBusMap, PciFunctionMap } from '../../../../src/devices/pci/registers.js';
import { configTemplate, type FunctionSpec } from '../../../../src/devices/pci/template.js';

export const MIB = 1024 * 1024;
export const GIB = 1024 * MIB;
export const windows = { low: { start: 0xc000_0000, size: 512 * MIB }, high: { start: 8 * GIB, size: 64 * GIB } };

export const spec = (name: string, changes: Partial<FunctionSpec> = {}): FunctionSpec => ({
  name,
  vendorId: 0x1234,
  deviceId: 0x5678,
  subsystemVendorId: 0x1af4,
  subsystemId: 0x1100,
  revision: 1,
  classCode: 0x01_00_00,
  interruptPin: 1,
  bars: [],
  capabilities: [],
  ...changes,
});

export class MockBar implements BusDevice {
  readonly name: string;
  readonly accesses: string[] = [];
  constructor(name: string) {
    this.name = name;
  }
  read(offset: number, size: AccessSize): number {
    this.accesses.push(`r${size}@${offset.toString(16)}`);
    return 0x11;
  }
  write(offset: number, size: AccessSize, value: number): void {
    this.accesses.push(`w${size}@${offset.toString(16)}=${value.toString(16)}`);
  }
}

export class MockBehaviour implements FunctionBehaviour {
  readonly bars: readonly MockBar[];
  readonly commands: [now: number, before: number][] = [];
  pending = false;
  barChanges = 0;
  reads = 0;
  writes = 0;
  constructor(of: FunctionSpec) {
    this.bars = of.bars.map((bar) => new MockBar(`${of.name} bar ${bar.index}`));
  }
  interruptPending(): boolean {
    return this.pending;
  }
  commandChanged(now: number, before: number): void {
    this.commands.push([now, before]);
  }
  capabilityRead(): void {
    this.reads++;
  }
  capabilityWritten(): void {
    this.writes++;
  }
  barsChanged(): void {
    this.barChanges++;
  }
}

/** Functions at power-on, function n in slot n. */
export function makeFunctions(specs: readonly FunctionSpec[], buffer?: SharedArrayBuffer, base = 0) {
  const layout = layoutPci(specs, windows, base);
  const state = buffer ?? new SharedArrayBuffer(layout.end);
  resetPci(state, layout, specs);
  const bus = PciBusMap.over(state, layout.bus);
  const behaviours = specs.map((s) => new MockBehaviour(s));
  const functions = specs.map(
    (s, i): PciFunction =>
      new PciFunction(configTemplate(s), PciFunctionMap.over(state, layout.functions[i]!), behaviours[i]!, bus, () => {
        for (const behaviour of behaviours) behaviour.barsChanged();
      }),
  );
  return { layout, state, bus, behaviours, functions };
}
