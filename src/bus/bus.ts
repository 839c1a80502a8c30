/**
 * Port and MMIO dispatch: which device answers an address. vCPU workers, under the machine lock.
 *
 * A device sees offsets from its own base and never throws for what a guest does. Accesses arrive as 1, 2 or 4 bytes;
 * the vCPU loop splits wider ones. An address nobody claims reads as all ones and swallows writes, as on a real bus.
 */
export type AccessSize = 1 | 2 | 4;

export interface BusDevice {
  readonly name: string;
  /** Value of a `size`-byte read at `offset`, unsigned. An access past the device's last byte reads as all ones. */
  read(offset: number, size: AccessSize): number;
  write(offset: number, size: AccessSize, value: number): void;
}

/** What an unclaimed address of `size` bytes reads as. */
export const allOnes = (size: AccessSize): number => (size === 4 ? 0xffff_ffff : size === 2 ? 0xffff : 0xff);

export class BusOverlapError extends Error {
  constructor(bus: string, name: string, base: number, end: number, other: string | undefined) {
    const range = `0x${base.toString(16)}-0x${end.toString(16)}`;
    super(
      other === undefined ? `${bus}: ${name} at ${range} is empty` : `${bus}: ${name} at ${range} overlaps ${other}`,
    );
    this.name = 'BusOverlapError';
  }
}

interface Entry {
  readonly base: number;
  readonly end: number; // inclusive
  readonly device: BusDevice;
}

export class Bus {
  readonly name: string;
  #entries: Entry[] = []; // sorted by base, disjoint

  constructor(name: string) {
    this.name = name;
  }

  insert(base: number, length: number, device: BusDevice): void {
    const end = base + length - 1;
    const at = this.#lastAtOrBelow(end);
    const other = this.#entries[at];
    if (!(length >= 1)) throw new BusOverlapError(this.name, device.name, base, end, undefined);
    if (other !== undefined && other.end >= base) {
      const range = `${other.device.name} at 0x${other.base.toString(16)}-0x${other.end.toString(16)}`;
      throw new BusOverlapError(this.name, device.name, base, end, range);
    }
    this.#entries.splice(at + 1, 0, { base, end, device });
  }

  remove(device: BusDevice): void {
    this.#entries = this.#entries.filter((entry) => entry.device !== device);
  }

  read(address: number, size: AccessSize): number {
    const entry = this.#find(address, size);
    return entry === undefined ? allOnes(size) : entry.device.read(address - entry.base, size);
  }

  write(address: number, size: AccessSize, value: number): void {
    const entry = this.#find(address, size);
    if (entry !== undefined) entry.device.write(address - entry.base, size, value);
  }

  /** True when some device claims every byte of the access. */
  claims(address: number, size: AccessSize): boolean {
    return this.#find(address, size) !== undefined;
  }

  #find(address: number, size: AccessSize): Entry | undefined {
    const entry = this.#entries[this.#lastAtOrBelow(address)];
    return entry !== undefined && address + size - 1 <= entry.end ? entry : undefined;
  }

  #lastAtOrBelow(address: number): number {
    let low = 0;
    let high = this.#entries.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (this.#entries[middle]!.base <= address) low = middle + 1;
      else high = middle;
    }
    return low - 1;
  }
}
