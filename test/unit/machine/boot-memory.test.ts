/** Guest RAM as the place that a boot reads to: what is guessed right is not copied, and nothing else stays in it. */
import { afterEach, expect, test } from 'vitest';
import { buildBootImage } from '../../../src/boot/linux/build.js';
import { ramRegions } from '../../../src/devices/memory-map.js';
import { native } from '../../../src/host/addon.js';
import { BootMemory } from '../../../src/machine/boot-memory.js';
import { GuestMemory } from '../../../src/memory/guest-memory.js';
import { GuestRam } from '../../../src/memory/ram.js';
import { fakeBzImage, fakeElf } from '../boot/linux/kernels.js';

const MiB = 2 ** 20;
const rams: GuestRam[] = [];
afterEach(() => {
  for (const ram of rams.splice(0)) ram.release();
});

/** Loads as a boot does; answers all of RAM, and the same loaded by plain copies. */
function load(kernelFile: Buffer, initrdFile: Buffer | undefined, size = 64 * MiB) {
  const make = () => {
    const ram = GuestRam.map(size);
    rams.push(ram);
    return ram.place(ramRegions(size));
  };
  const regions = make();
  const memory = new BootMemory(regions);
  const kernel = memory.kernel(kernelFile.length, kernelFile.subarray(0, 4096));
  kernelFile.copy(kernel);
  const initrd = initrdFile && memory.initrd(initrdFile.length);
  if (initrd !== undefined) initrdFile!.copy(initrd);
  const request = { cmdline: 'console=ttyS0', ram: ramRegions(size), rngSeed: Buffer.alloc(32, 7) };
  memory.load(buildBootImage({ ...request, kernel, initrd }));
  const isPlaced = (bytes: Buffer): boolean =>
    bytes.buffer.byteLength > 0 &&
    native().addressOf(bytes) >= regions[0]!.hostAddress &&
    native().addressOf(bytes) < regions[0]!.hostAddress + size;
  const placed = { kernel: isPlaced(kernel), initrd: initrd !== undefined && isPlaced(initrd) };
  memory.release();
  expect(placed.kernel ? kernel.length : 0).toBe(0); // no view is left

  const plain = make();
  const at = new GuestMemory(plain, () => new ArrayBuffer(0));
  const image = buildBootImage({ ...request, kernel: kernelFile, initrd: initrdFile });
  for (const { address, data } of image.segments) native().copyIn(at.hostAddress(address, data.length), data);
  return { placed, ram: contents(regions[0]!.hostAddress, size), expected: contents(plain[0]!.hostAddress, size) };
}

function contents(host: number, size: number): Buffer {
  const bytes = Buffer.alloc(size);
  native().copyOut(host, bytes);
  return bytes;
}

const initrd = Buffer.alloc(100_001, 'initrd ');

test('a bzImage and its initrd are read where they run; headers and trailers are gone', () => {
  const { placed, ram, expected } = load(fakeBzImage({ trailer: 3000 }), initrd);
  expect(placed).toEqual({ kernel: true, initrd: true });
  expect(ram.equals(expected)).toBe(true);
});

test('an initrd that the kernel takes further down is moved, over its old place too', () => {
  const kernel = fakeBzImage({ xloadflags: 1, initrdAddrMax: 64 * MiB - 40_000 });
  const { placed, ram, expected } = load(kernel, initrd);
  expect(placed).toEqual({ kernel: true, initrd: true });
  expect(ram.equals(expected)).toBe(true);
});

test('an ELF kernel is read elsewhere and copied', () => {
  const { placed, ram, expected } = load(fakeElf(), undefined);
  expect(placed).toEqual({ kernel: false, initrd: false });
  expect(ram.equals(expected)).toBe(true);
});

test('what does not fit or is no kernel is read elsewhere, and the loader says what is wrong', () => {
  const ram = GuestRam.map(8 * MiB);
  rams.push(ram);
  const memory = new BootMemory(ram.place(ramRegions(8 * MiB)));
  expect(memory.initrd(100 * MiB).length).toBe(100 * MiB);
  expect(memory.kernel(5000, Buffer.from('nothing')).length).toBe(5000);
  expect(memory.kernel(16 * MiB, fakeBzImage().subarray(0, 4096)).length).toBe(16 * MiB);
  const forged = fakeBzImage({ prefAddress: 0xffff_ffff_ffff_f000n });
  expect(memory.kernel(forged.length, forged.subarray(0, 4096)).length).toBe(forged.length);
  memory.release();
});
