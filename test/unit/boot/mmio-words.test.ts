/** How a guest without ACPI learns of its virtio-mmio devices. */
import { expect, test } from 'vitest';
import { disablesAcpi, withMmioWords } from '../../../src/boot/mmio-words.js';

test.each([
  ['', false],
  ['acpi=off', true],
  ['quiet acpi=off root=/dev/vda', true],
  ['acpi=off acpi=force', false],
  ['acpi=force acpi=off', true],
  ['acpi=offline', false],
  ['xacpi=off', false],
  ['acpi=ht', false],
  ['-- acpi=off', false],
  ['init="/bin/sh acpi=off"', false],
])('%j turns ACPI off: %s', (cmdline, off) => {
  expect(disablesAcpi(cmdline)).toBe(off);
});

test('a word for each device, with size, address and line, in front of what is for init', () => {
  expect(withMmioWords('acpi=off root=/dev/vda -- single', 2)).toBe(
    'acpi=off root=/dev/vda virtio_mmio.device=4K@0xfeb00000:5 virtio_mmio.device=4K@0xfeb01000:6 -- single',
  );
  expect(withMmioWords('acpi=off', 8)).toContain(' virtio_mmio.device=4K@0xfeb07000:16');
  expect(withMmioWords('acpi=off', 0)).toBe('acpi=off');
});
