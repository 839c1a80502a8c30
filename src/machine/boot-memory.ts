/**
 * Guest RAM as the place where a boot reads kernel and initrd to: where the loader will put them, so that the page cache is
 * copied once and nothing else is. Main thread, before the guest runs.
 *
 * Where they lie is a guess, which `load` checks segment by segment: what the loader wants elsewhere is moved. Views live
 * from the read to `release`, and only here; users never see them (contract §4.12-13).
 */
import type { BootImage } from '../boot/boot-image.js';
import { bzImagePlace } from '../boot/linux/bzimage.js';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { GuestMemory, type RamRegion } from '../memory/guest-memory.js';

const pageSize = 4096;
/** Tables and stacks of the boot protocols lie below. */
const floor = 0x10_0000;

interface Placed {
  readonly address: number;
  readonly bytes: Buffer;
}

export class BootMemory {
  readonly #memory: GuestMemory;
  readonly #placed: Placed[] = [];

  constructor(regions: readonly RamRegion[]) {
    this.#memory = new GuestMemory(regions, () => new ArrayBuffer(0));
  }

  /** A bzImage so that its protected-mode part lies where it runs; other kernels have no one place. */
  kernel(size: number, head: Buffer): Buffer {
    const place = bzImagePlace(head);
    return (place && this.#place(place.address - place.start, size)) ?? Buffer.alloc(size);
  }

  /** As high as it goes in the region at 0, as the loader does it for all but old kernels. */
  initrd(size: number): Buffer {
    const low = this.#memory.regions[0]!;
    const end = low.start + low.size;
    return this.#place(Math.floor((end - size) / pageSize) * pageSize, size) ?? Buffer.alloc(size);
  }

  /** Undefined where it would not be in RAM or would meet what is placed already. */
  #place(address: number, size: number): Buffer | undefined {
    const host = this.#memory.hostAddress(address, size);
    const meets = (other: Placed): boolean =>
      address < other.address + other.bytes.length && other.address < address + size;
    if (address < floor || size === 0 || host === 0 || this.#placed.some(meets)) return undefined;
    const buffer = native().wrapMemory(host, size);
    if (buffer === undefined) return undefined;
    const bytes = Buffer.from(buffer);
    this.#placed.push({ address, bytes });
    return bytes;
  }

  /** Puts all of `image` where it belongs. What was read and is no part of it is zeros again. */
  load(image: BootImage): void {
    const elsewhere: { readonly host: number; readonly data: Uint8Array }[] = [];
    const inPlace: { readonly start: number; readonly end: number }[] = [];
    for (const { name, address, data } of image.segments) {
      const host = this.#memory.hostAddress(address, data.length);
      if (host === 0) throw new TsvmmError('ERR_TSVMM_BOOT_KERNEL', `the ${name} does not lie in guest RAM`);
      const isPlaced = this.#placed.some(({ bytes }) => bytes.buffer === data.buffer);
      if (isPlaced && native().addressOf(data) === host) inPlace.push({ start: address, end: address + data.length });
      // Out of guest RAM first: its old and its new place may overlap.
      else elsewhere.push({ host, data: isPlaced ? Buffer.from(data) : data });
    }
    for (const { address, bytes } of this.#placed) clearBeside(address, bytes, inPlace);
    for (const { host, data } of elsewhere) native().copyIn(host, data);
  }

  /** No view may be used any more, nor any segment that is one. */
  release(): void {
    for (const { bytes } of this.#placed.splice(0)) native().detach(bytes.buffer as ArrayBuffer);
  }
}

/** Clears what of `bytes`, which lie at `address`, is none of `kept`. */
function clearBeside(
  address: number,
  bytes: Buffer,
  kept: readonly { readonly start: number; readonly end: number }[],
): void {
  let at = 0;
  for (const { start, end } of [...kept].sort((a, b) => a.start - b.start)) {
    if (end <= address || start >= address + bytes.length) continue;
    bytes.fill(0, at, Math.max(at, start - address));
    at = Math.max(at, end - address);
  }
  bytes.fill(0, Math.min(at, bytes.length));
}
