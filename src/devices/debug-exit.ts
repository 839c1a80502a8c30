/**
 * A port that ends the machine with the byte written to it: how the test guests report a result. vCPU worker.
 *
 * It exists only in machines that ask for it. A guest could power off as well, so it gives no power, only an exit code.
 */
import { ByteDevice } from './byte-device.js';
import { MachineEvent, type Wires } from './wires.js';

export class DebugExit extends ByteDevice {
  readonly name = 'debug exit';
  readonly #wires: Wires;

  constructor(wires: Wires) {
    super();
    this.#wires = wires;
  }

  override readByte(): number {
    return 0xff;
  }

  override writeByte(_offset: number, value: number): void {
    this.#wires.raise(MachineEvent.debugExit, value);
  }
}
