/**
 * `vm.memory`: checked copies from and to guest RAM. Main thread.
 *
 * No live view of guest memory leaves the library (contract §4.13); a page the host cannot supply reads as zeroes and
 * ends the machine with the reason.
 */
import { constants } from 'node:buffer';
import { isUint8Array } from 'node:util/types';
import { ramRegions } from '../devices/memory-map.js';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import type { RamRegion } from '../memory/guest-memory.js';
import { GuestMemory as RamMap } from '../memory/guest-memory.js';
import type { PowerCycle } from './power-cycle.js';
import type { MemoryRange } from './prefault.js';
import type { SourceMemory } from './source-memory.js';
import type { VmState } from './states.js';
import { show } from './units.js';

/** The length that the shim will copy, whatever a subclass or a property of the same name says. */
const lengthOf = Object.getOwnPropertyDescriptor(Object.getPrototypeOf(Uint8Array.prototype), 'length')!.get!;

export interface GuestMemory {
  /** Bytes of RAM. */
  readonly size: number;
  /** Guest-physical ranges that are RAM. */
  readonly regions: readonly { readonly start: number; readonly size: number }[];
  /** A copy of `length` bytes at guest-physical `address`. Throws `ERR_TSVMM_CONFIG` when they are not all RAM. */
  read(address: number, length: number): Buffer;
  /** Fills `target` from `address`. */
  readInto(address: number, target: Uint8Array): void;
  /** Copies `source` to `address`. */
  write(address: number, source: Uint8Array): void;
  /**
   * Resolves when these bytes are there: at once, unless the machine was restored with `pages`. Of such a one the others wait
   * for this, as they could not wait for the function that would supply them: they throw `ERR_TSVMM_STATE`.
   */
  load(address: number, length: number): Promise<void>;
  /**
   * What has been touched of it so far, in whole pages, whoever did: of a machine that was restored what its guest needs, for
   * `prefault` of the next one.
   */
  touched(): MemoryRange[];
}

export interface MemoryOwner {
  /** Throws `ERR_TSVMM_STATE` once the machine is gone. */
  regions(): readonly RamRegion[];
  /** Undefined: all of it is there. */
  source(): SourceMemory | undefined;
  wrote(hostAddress: number, length: number): void;
  touched(): MemoryRange[];
}

/** Of whatever power cycle a machine is in. */
export const machineMemory = (size: number, cycle: () => PowerCycle | undefined, state: () => VmState): GuestMemory =>
  guestMemoryApi(ramRegions(size), {
    regions: () => {
      const now = cycle();
      if (now?.isClosing === false) return now.regions;
      throw new TsvmmError('ERR_TSVMM_STATE', `the memory of a machine that is ${state()} cannot be accessed`);
    },
    source: () => cycle()?.source,
    wrote: (host, length) => cycle()?.touch(host, length),
    touched: () => cycle()!.touched(),
  });

export function guestMemoryApi(
  layout: readonly { readonly start: number; readonly size: number }[],
  owner: MemoryOwner,
): GuestMemory {
  const locate = (address: number, length: number): number => {
    const ram = new RamMap(owner.regions(), () => new ArrayBuffer(0));
    const host = Number.isSafeInteger(address) && Number.isSafeInteger(length) ? ram.hostAddress(address, length) : 0;
    if (host !== 0) return host;
    const ranges = layout
      .map(({ start, size }) => `0x${start.toString(16)}-0x${(start + size - 1).toString(16)}`)
      .join(' and ');
    throw new TsvmmError(
      'ERR_TSVMM_CONFIG',
      `memory: ${show(length)} bytes at ${typeof address === 'number' ? `0x${address.toString(16)}` : show(address)} are not all guest RAM`,
      {
        hint: `RAM is ${ranges}; an access may not cross from one range to another`,
      },
    );
  };
  /** The same of what may be touched now. */
  const there = (address: number, length: number): number => {
    const host = locate(address, length);
    if (owner.source()?.isThere(host, length) ?? true) return host;
    throw new TsvmmError('ERR_TSVMM_STATE', `memory: ${length} bytes at 0x${address.toString(16)} are not there yet`, {
      hint: 'wait for them: await vm.memory.load(address, length)',
    });
  };
  const lengthFor = (what: string, value: Uint8Array): number => {
    if (isUint8Array(value)) return lengthOf.call(value);
    throw new TsvmmError('ERR_TSVMM_CONFIG', `memory.${what}: expected a Uint8Array`, {
      hint: 'pass a Buffer or Uint8Array',
    });
  };
  return {
    size: layout.reduce((sum, region) => sum + region.size, 0),
    regions: layout.map(({ start, size }) => ({ start, size })),
    read(address, length) {
      const host = there(address, length);
      if (length > constants.MAX_LENGTH) {
        throw new TsvmmError('ERR_TSVMM_CONFIG', `memory: ${length} bytes are more than one Buffer holds here`, {
          hint: `read at most ${constants.MAX_LENGTH} bytes at once`,
        });
      }
      const copy = Buffer.alloc(length);
      native().copyOut(host, copy);
      return copy;
    },
    readInto(address, target) {
      native().copyOut(there(address, lengthFor('readInto', target)), target);
    },
    write(address, source) {
      const length = lengthFor('write', source);
      const host = there(address, length);
      native().copyIn(host, source);
      owner.wrote(host, length);
    },
    async load(address, length) {
      const host = locate(address, length);
      await owner.source()?.load(host, length);
    },
    touched() {
      owner.regions();
      return owner.touched();
    },
  };
}
