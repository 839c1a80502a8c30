/**
 * Guest-physical addresses to host memory: only RAM, never anything else. Any thread; views on the I/O worker (and ring
 * views on main) only, since wrapping RAM costs each isolate a collection (contract §4.12).
 *
 * Guest RAM is one contiguous host range that never moves (contract §4.1), seen by the guest as regions around the 32-bit
 * hole. An address that is not wholly RAM is a guest's mistake and therefore a value: `hostAddress` answers 0, `view`
 * undefined. Because nothing but RAM can be reached here, a device can never be made to DMA into MMIO (traps T4, T24).
 */
export interface RamRegion {
  /** Guest-physical, 4 KiB aligned. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
  readonly hostAddress: number;
}

/** Where the guest sees the byte at `offset` of RAM, whose regions lie in it one after the other. */
export function guestAddressOf(regions: readonly RamRegion[], offset: number): number {
  const host = regions[0]!.hostAddress + offset;
  const region = regions.find(({ hostAddress, size }) => host < hostAddress + size)!;
  return region.start + host - region.hostAddress;
}

/** Makes an ArrayBuffer over mapped host memory: the shim's `wrapMemory`, or a fake in tests. */
export type Wrap = (hostAddress: number, length: number) => ArrayBuffer;

/** One external ArrayBuffer ends at 4 GiB on Node 20. */
const windowSize = 0x1_0000_0000;
/** Windows overlap by more than the largest ring (32,768 descriptors: 512 KiB), so that every ring lies whole in one. */
const windowStride = windowSize - 0x10_0000;

interface Window {
  readonly bytes: Uint8Array;
  readonly view: DataView;
}

export class GuestMemory {
  readonly regions: readonly RamRegion[];
  readonly #wrap: Wrap;
  readonly #failed: Int32Array | undefined;
  /** Per region, made at first use and kept until `release`. */
  readonly #windows: (Window | undefined)[][];

  /** `failed`: the word that the SIGBUS guard sets (native/guard.cc). */
  constructor(regions: readonly RamRegion[], wrap: Wrap, failed?: Int32Array) {
    this.regions = regions;
    this.#wrap = wrap;
    this.#failed = failed;
    this.#windows = regions.map(() => []);
  }

  /** A page that the host could not supply has been taken for zeroes: what was read until now may be none of the guest's. */
  get isLost(): boolean {
    return this.#failed !== undefined && Atomics.load(this.#failed, 0) !== 0;
  }

  /** Bytes of RAM. */
  get size(): number {
    return this.regions.reduce((sum, region) => sum + region.size, 0);
  }

  /** The host address of `length` bytes at `gpa`, or 0 if they are not all in one region of RAM. */
  hostAddress(gpa: number, length: number): number {
    for (let i = 0; i < this.regions.length; i++) {
      const region = this.regions[i]!;
      // This form also refuses NaN, negative and huge values.
      if (gpa >= region.start && length >= 0 && gpa - region.start <= region.size - length) {
        return region.hostAddress + (gpa - region.start);
      }
    }
    return 0;
  }

  /** Hot: puts the host address of `length` bytes at `guest[index]` into `host[index]`; false if they are not RAM as above. */
  locate(guest: Float64Array, host: Float64Array, index: number, length: number): boolean {
    const gpa = guest[index]!;
    for (let i = 0; i < this.regions.length; i++) {
      const region = this.regions[i]!;
      if (!(gpa >= region.start && length >= 0 && gpa - region.start <= region.size - length)) continue;
      host[index] = region.hostAddress + (gpa - region.start);
      return true;
    }
    return false;
  }

  /** An exact view of `length` bytes (at most 1 MiB) at `gpa`; undefined if they are not RAM. For rings: make once. */
  view(gpa: number, length: number): Uint8Array | undefined {
    const window = length <= windowSize - windowStride ? this.#find(gpa, length) : undefined;
    return window?.bytes.subarray(this.#offset, this.#offset + length);
  }

  /** Little-endian reads and writes; the caller has checked the range by `hostAddress`, so a miss is a bug of ours. */
  u8(gpa: number): number {
    return this.#at(gpa, 1).getUint8(this.#offset);
  }
  u16(gpa: number): number {
    return this.#at(gpa, 2).getUint16(this.#offset, true);
  }
  u32(gpa: number): number {
    return this.#at(gpa, 4).getUint32(this.#offset, true);
  }
  setU8(gpa: number, value: number): void {
    this.#at(gpa, 1).setUint8(this.#offset, value);
  }
  setU16(gpa: number, value: number): void {
    this.#at(gpa, 2).setUint16(this.#offset, value, true);
  }
  setU32(gpa: number, value: number): void {
    this.#at(gpa, 4).setUint32(this.#offset, value, true);
  }

  /** Hot: the same, `into` bytes behind the address `guest[index]`. An address beyond 2 GiB is an allocation as an argument. */
  u32At(guest: Float64Array, index: number, into: number): number {
    return this.#windowAt(guest, index, into, 4).getUint32(this.#offset, true);
  }
  setU8At(guest: Float64Array, index: number, value: number): void {
    this.#windowAt(guest, index, 0, 1).setUint8(this.#offset, value);
  }

  /** Drops every window, handing each buffer to `detach`. No view may be used afterwards. */
  release(detach: (buffer: ArrayBuffer) => void): void {
    for (const windows of this.#windows) {
      for (const window of windows) if (window !== undefined) detach(window.bytes.buffer as ArrayBuffer);
      windows.length = 0;
    }
  }

  /** Where the last found access begins in its window: a second result without an allocation. */
  #offset = 0;

  /** The address of who has none in an array. */
  readonly #scalar = new Float64Array(1);

  #at(gpa: number, length: number): DataView {
    this.#scalar[0] = gpa;
    return this.#windowAt(this.#scalar, 0, 0, length);
  }

  #windowAt(guest: Float64Array, index: number, into: number, length: number): DataView {
    const window = this.#findAt(guest, index, into, length);
    if (window === undefined) throw new RangeError(`guest address 0x${(guest[index]! + into).toString(16)} is not RAM`);
    return window.view;
  }

  #find(gpa: number, length: number): Window | undefined {
    this.#scalar[0] = gpa;
    return this.#findAt(this.#scalar, 0, 0, length);
  }

  #findAt(guest: Float64Array, position: number, into: number, length: number): Window | undefined {
    const gpa = guest[position]! + into;
    for (let i = 0; i < this.regions.length; i++) {
      const region = this.regions[i]!;
      if (!(gpa >= region.start && length >= 0 && gpa - region.start <= region.size - length)) continue;
      const offset = gpa - region.start;
      const index = Math.floor(offset / windowStride);
      const base = index * windowStride;
      // An access across the end of the stride still lies in this window, which is 1 MiB longer.
      this.#offset = offset - base;
      return this.#windows[i]![index] ?? this.#open(i, index, base);
    }
    return undefined;
  }

  #open(region: number, index: number, base: number): Window {
    const { hostAddress, size } = this.regions[region]!;
    const buffer = this.#wrap(hostAddress + base, Math.min(windowSize, size - base));
    const window = { bytes: new Uint8Array(buffer), view: new DataView(buffer) };
    this.#windows[region]![index] = window;
    return window;
  }
}
