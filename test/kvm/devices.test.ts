import { describe, expect, test } from 'vitest';
import { scratchFolder, sectorBytes } from './support/disks.js';
import { whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

/** "2000-01-02T03:04:05Z" as the guest prints it, in ms since 1970. */
const clockOf = (output: string): number => Date.parse(/^rtc: (\S+)$/m.exec(output)![1]!);

describe.skipIf(whyNoKvm !== undefined)('what a machine is made of', () => {
  const scratch = scratchFolder();

  test('PCI shows the same functions by ports and by ECAM, and every virtio BAR moves as a whole (T18, T21)', async () => {
    const disks = ['first', 'second'].map((name) => scratch.file(`${name}.img`, 8 * sectorBytes));
    const output = await runClean('devices', { disks, memory: '64M' });
    const functions = [...output.matchAll(/^pci (\S+) (\S{4}):(\S{4}) class (\S{4})/gm)];
    const devices = functions.map(([, , vendor, device]) => `${vendor}:${device}`);
    expect(devices.filter((id) => id === '1af4:1042')).toHaveLength(2); // block
    expect(devices.filter((id) => id === '1af4:1044')).toHaveLength(1); // entropy
    expect(functions[0]).toMatchObject({ 1: '00:00.0', 4: '0600' });
    expect(output).toContain(`pci: ${functions.length} functions, both mechanisms agree\n`);
    // Each has one 64-bit BAR, moved inside the 32-bit hole and above 4 GiB.
    const moves = [
      ...output.matchAll(/^ {2}moved bar 0 of (\S+) from 0x\w+ to 0x(\w+) and back, old place reads 0xffff$/gm),
    ];
    expect(moves).toHaveLength(2 * 3);
    const targets = moves.map((move) => Number.parseInt(move[2]!, 16));
    expect(targets.filter((at) => at < 2 ** 32)).toHaveLength(3);
    expect(targets.filter((at) => at > 2 ** 32)).toHaveLength(3);
    expect(output).toContain('pci: 3 bars moved\n');
    // Common configuration, doorbells, ISR, device configuration and the PCI window of each (virtio 1.2 §4.1.4).
    for (const structure of [1, 2, 3, 5])
      expect(output.match(new RegExp(`virtio structure ${structure} bar`, 'g'))).toHaveLength(3);
    expect(output.match(/capability 0x11 at 0x\w+ msix \d+ vectors/g)).toHaveLength(3);
  });

  test('BARs move above RAM that reaches beyond 4 GiB', async () => {
    const output = await runClean('devices', { memory: '5G', cmdline: 'skip=serial,rtc,i8042,acpi' });
    const high = [...output.matchAll(/ to 0x(\w+) and back/g)].map((match) => Number.parseInt(match[1]!, 16));
    expect(Math.max(...high)).toBeGreaterThanOrEqual(6 * 2 ** 30); // 3 GiB below the hole, 2 above
  });

  test('the serial port passes the self tests of a 16550A driver, and the i8042 its own', async () => {
    const output = await runClean('devices', { cmdline: 'skip=rtc,pci,acpi,cpuid' });
    expect(output).toContain('serial: 16550A, scratch, loopback of lines and of 16 bytes, divisor\n');
    expect(output).toMatch(/^i8042: self test passed, configuration 0x\w\w$/m);
  });

  test('the clock shows the time of the host', async () => {
    const before = Date.now();
    const output = await runClean('devices', { cmdline: 'skip=serial,pci,acpi,cpuid,i8042' });
    const seconds = (ms: number): number => Math.floor(ms / 1000);
    expect(seconds(clockOf(output))).toBeGreaterThanOrEqual(seconds(before));
    expect(clockOf(output)).toBeLessThanOrEqual(Date.now());
  });

  test.each([1, 3])('CPUID says KVM, and ACPI describes the platform of %i vCPUs', async (cpus) => {
    const output = await runClean('devices', { cpus, cmdline: 'skip=serial,pci,rtc,i8042' });
    const hypervisor = /hypervisor bit 1, hypervisor KVMKVMKVM, max 0x(\w+), features 0x(\w+)$/m.exec(output);
    expect(hypervisor, output).not.toBeNull();
    expect(Number.parseInt(hypervisor![1]!, 16)).toBeGreaterThanOrEqual(0x40000001);
    expect(Number.parseInt(hypervisor![2]!, 16) & 0b1001).toBe(0b1001); // KVM_FEATURE_CLOCKSOURCE and CLOCKSOURCE2
    expect(Number(/^cpuid: (\d+) physical address bits$/m.exec(output)![1])).toBeGreaterThanOrEqual(36);
    const acpi =
      /^acpi:((?: \w{4})+); sci 9, pm1a 0x\w+, s5 \d, ecam 0x\w+ buses 0-\d+, cpus (\d+), reset space 1 /m.exec(output);
    expect(acpi, output).not.toBeNull();
    expect(acpi![1]!.trim().split(' ')).toEqual(expect.arrayContaining(['FACP', 'APIC', 'MCFG']));
    expect(Number(acpi![2])).toBe(cpus);
  });

  test('MSI-X masks, holds back and routes as the tables say (T20, T23)', async () => {
    const output = await runClean('msix');
    expect(output).toMatch(/^msix ok$/m);
    expect(output.match(/^msix .*: as expected$/gm)!.length).toBeGreaterThan(3);
  });
});
