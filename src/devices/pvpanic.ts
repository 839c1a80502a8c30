/**
 * pvpanic: a guest kernel that panics says so by a write to one port (QEMU docs/specs/pvpanic). vCPU worker.
 *
 * Reading tells which events are understood: "panicked", which ends the machine, and "crashed, and a crash kernel takes
 * over", after which the guest goes on by itself and is only reported. The detail of the machine's event is the mask.
 */
import { asBits, bit, has, join } from './bits.js';
import { ByteDevice } from './byte-device.js';
import { MachineEvent, type Wires } from './wires.js';

export const PanicEvent = {
  panicked: bit<'pvpanic'>(0),
  crashLoaded: bit<'pvpanic'>(1),
} as const;
const supported = join(PanicEvent.panicked, PanicEvent.crashLoaded);

export class PvPanic extends ByteDevice {
  readonly name = 'pvpanic';
  readonly #wires: Wires;

  constructor(wires: Wires) {
    super();
    this.#wires = wires;
  }

  override readByte(): number {
    return supported;
  }

  override writeByte(_offset: number, value: number): void {
    const events = asBits<'pvpanic'>(value & supported);
    if (has(events, PanicEvent.panicked)) this.#wires.raise(MachineEvent.panic, events);
    else if (has(events, PanicEvent.crashLoaded))
      this.#wires.warn(this.name, 'guest: crashed, its crash kernel takes over');
    else this.#wires.warn(this.name, 'driver: reports an event that was not announced');
  }
}
