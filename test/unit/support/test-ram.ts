/** Guest memory for tests: a plain ArrayBuffer where only the bytes matter, mapped memory where the kernel reads it. */
import { native } from '../../../src/host/addon.js';
import { HostBlock } from '../../../src/host/host-block.js';
import { GuestMemory, type RamRegion } from '../../../src/memory/guest-memory.js';

export interface TestRam {
  readonly memory: GuestMemory;
  readonly regions: readonly RamRegion[];
  /** All of it, by guest-physical address. */
  readonly bytes: Uint8Array;
  close(): void;
}

/** Host addresses of fake memory: nothing is there, and no test may hand one to the kernel. */
const fakeBase = 0x7000_0000_0000;

export function fakeRam(size: number): TestRam {
  const buffer = new ArrayBuffer(size);
  const regions = [{ start: 0, size, hostAddress: fakeBase }];
  const memory = new GuestMemory(regions, (address, length) => {
    if (address !== fakeBase || length !== size) throw new Error('fake memory is one window');
    return buffer;
  });
  return { memory, regions, bytes: new Uint8Array(buffer), close: () => {} };
}

export function mappedRam(size: number): TestRam {
  const block = new HostBlock(size);
  const regions = [{ start: 0, size, hostAddress: block.address }];
  const memory = new GuestMemory(regions, (address, length) => native().wrapMemory(address, length)!);
  const close = () => {
    memory.release((buffer) => native().detach(buffer));
    block.close();
  };
  return { memory, regions, bytes: new Uint8Array(block.buffer), close };
}
