/**
 * A device of 8-bit registers, as ISA devices are. vCPU worker.
 *
 * A wider access becomes byte accesses to neighbouring registers in ascending order, which is what an ISA bus makes of
 * it. Reads may have side effects, so each byte is read once.
 */
import type { AccessSize, BusDevice } from '../bus/bus.js';

export abstract class ByteDevice implements BusDevice {
  abstract readonly name: string;
  abstract readByte(offset: number): number;
  abstract writeByte(offset: number, value: number): void;

  read(offset: number, size: AccessSize): number {
    if (size === 1) return this.readByte(offset);
    let value = 0;
    for (let i = 0; i < size; i++) value |= this.readByte(offset + i) << (8 * i);
    return value >>> 0;
  }

  write(offset: number, size: AccessSize, value: number): void {
    for (let i = 0; i < size; i++) this.writeByte(offset + i, (value >>> (8 * i)) & 0xff);
  }
}
