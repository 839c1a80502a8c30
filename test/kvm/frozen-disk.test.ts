/** Disks of running machines that are frozen: the guest goes on, and others read what was there. */
import { readFileSync } from 'node:fs';
import { Disk, type VirtualMachine } from 'tsvmm';
import { describe, expect, test } from 'vitest';
import type { FrozenDisk } from '../../src/machine/frozen-disk.js';
import { openTargets } from '../support/descriptors.js';
import { scratchFolder, sectorBytes } from './support/disks.js';
import { startGuest, whyNoKvm } from './support/guests.js';

const scratch = scratchFolder();
const sectors = 64;

/** What only machines that go on from others ask of a disk. */
interface Freezable {
  prepareFreeze(): Promise<void>;
  freeze(): Promise<FrozenDisk>;
}
const freezable = (disk: Disk | undefined): Freezable => disk as unknown as Freezable;
const { ofFrozen } = Disk as unknown as { ofFrozen(frozen: FrozenDisk): Disk };

function content(): Buffer {
  const bytes = Buffer.alloc(sectors * sectorBytes, 0x5a);
  bytes.writeUInt32LE(0xa1, 0);
  bytes.writeUInt32LE(0xa2, (sectors - 1) * sectorBytes);
  return bytes;
}

const counterOf = (disk: Buffer): number => disk.readUInt32LE(sectorBytes);

/** Until its guest has written more. */
async function goneOn(path: string, from: number): Promise<void> {
  while (counterOf(readFileSync(path)) < from + 20) await new Promise((resolve) => setTimeout(resolve, 5));
}

const temporaryFiles = (): string[] => openTargets().filter((target) => /^\/(var\/)?tmp\/.*\(deleted\)$/.test(target));

const found = /^drive: 64 sectors .* 0xa1, status 0 0xa2$/m;

describe.skipIf(whyNoKvm !== undefined).each(['pci', 'mmio'] as const)('over virtio-%s', (transport) => {
  test('a guest writes all the time; each copy has what was there when it was made', async () => {
    const path = scratch.file(`${transport}.img`, content()) as string;
    await using vm = await startGuest('drive', { disks: [path], transport, cmdline: 'write until=1' });
    await vm.console.waitFor(found);
    await goneOn(path, 0);
    const disk = freezable(vm.disks[0]);
    const kept: { frozen: FrozenDisk; bytes: Buffer }[] = [];
    for (let round = 0; round < 5; round++) {
      await disk.prepareFreeze();
      await vm.pause();
      const frozen = await disk.freeze();
      kept.push({ frozen, bytes: readFileSync(path) });
      await vm.resume();
      await goneOn(path, counterOf(kept.at(-1)!.bytes));
    }
    for (const [i, { frozen, bytes }] of kept.entries()) {
      const target = scratch.path(`${transport}${i}.raw`);
      await frozen.writeTo(target);
      expect(readFileSync(target).equals(bytes)).toBe(true);
    }

    // A machine of its own on each; its guest writes there.
    const copies: VirtualMachine[] = [];
    for (const { frozen } of kept)
      copies.push(
        await startGuest('drive', {
          disks: [ofFrozen(frozen.hold())],
          transport,
          cmdline: 'write until=1',
          memory: '32M',
        }),
      );
    for (const copy of copies) await copy.console.waitFor(found);
    for (const [i, { frozen, bytes }] of kept.entries()) {
      const target = scratch.path(`${transport}${i}.again`);
      await frozen.writeTo(target);
      expect(readFileSync(target).equals(bytes)).toBe(true);
    }

    // Copies of copies, and then everything goes.
    await copies[0]!.pause();
    const frozen = await freezable(copies[0]!.disks[0]).freeze();
    await copies[0]!.resume();
    const target = scratch.path(`${transport}.second`);
    await frozen.writeTo(target);
    expect(counterOf(readFileSync(target))).toBeGreaterThan(0);
    await frozen.release();
    for (const copy of copies) await copy.kill();
    for (const { frozen } of kept) await frozen.release();
    await vm.disks[0]!.resize((sectors + 8) * sectorBytes); // after what has been forgotten
    expect(temporaryFiles()).toEqual([]);
    await goneOn(path, counterOf(readFileSync(path)));
    await vm.kill();
  });
});
