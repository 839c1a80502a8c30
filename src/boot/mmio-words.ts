/**
 * How a guest without ACPI is told of its virtio-mmio devices: words on the kernel command line (Linux
 * Documentation/admin-guide/kernel-parameters, `virtio_mmio.device`). Main thread.
 */
import { virtioMmioPlace } from '../devices/memory-map.js';
import { splitInit } from './cmdline.js';

/** What the command line makes of ACPI, as the kernel reads it: the last word counts. */
export function disablesAcpi(cmdline: string): boolean {
  let off = false;
  for (const word of splitInit(cmdline).kernel) {
    if (word === 'acpi=off') off = true;
    else if (word === 'acpi=force') off = false;
  }
  return off;
}

/** `cmdline` with a word for each of `devices` devices, in front of what is init's. */
export function withMmioWords(cmdline: string, devices: number): string {
  const { kernel, init } = splitInit(cmdline);
  const words = Array.from({ length: devices }, (_, device) => {
    const { region, gsi } = virtioMmioPlace(device);
    return `virtio_mmio.device=${region.size / 1024}K@0x${region.start.toString(16)}:${gsi}`;
  });
  return [...kernel, ...words, ...(init.length > 0 ? ['--', ...init] : [])].join(' ');
}
