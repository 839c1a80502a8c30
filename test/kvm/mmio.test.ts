/** The virtio-mmio transport on KVM: every device, both ways of announcing them, both kinds of doorbells and resets. */
import { describe, expect, test } from 'vitest';
import { pattern, readSectors, scratchFolder, sectorBytes } from './support/disks.js';
import { type GuestOptions, startGuest, whyNoKvm } from './support/guests.js';
import { runClean } from './support/outcome.js';

const mmio = (options: GuestOptions = {}): GuestOptions => ({ ...options, transport: 'mmio' });

describe.skipIf(whyNoKvm !== undefined)('virtio-mmio', () => {
  const scratch = scratchFolder();

  test.each(['', 'acpi=off', 'by=poll', 'acpi=off indirect event-index depth=16 requests=64'])(
    'gives entropy (%s)',
    async (cmdline) => {
      const output = await runClean('virtio-rng', mmio({ cmdline }));
      expect(output).toMatch(/rng ok: (16|64) requests, \d+ bytes, \d+ interrupts/);
    },
  );

  test.each([
    ['', 5],
    ['acpi=off indirect event-index depth=16', 5],
    ['device=9', 18],
    ['acpi=off device=12', 21],
  ])('serves a disk (%s)', async (cmdline, line) => {
    const disks = Array.from({ length: 13 }, (_, i) => scratch.file(`disk${line}-${i}.img`, 256 * sectorBytes));
    const output = await runClean('virtio-blk', mmio({ cmdline, disks }));
    // An edge that rises while its predecessor is being acknowledged finds nothing left: legal, but never once per request.
    const spurious = new RegExp(`blk edge: line ${line}, (\\d+) spurious`).exec(output)?.[1];
    expect(Number(spurious)).toBeLessThan(27);
    const used = disks[Number(/device=(\d+)/.exec(cmdline)?.[1] ?? 0)]!;
    expect(readSectors(used, 0, 64).equals(pattern(0, 64, 1))).toBe(true);
  });

  test.each(['pci', 'mmio'] as const)(
    'T53: a reset gives memory back at once, whatever is in flight (%s)',
    async (transport) => {
      const disks = [scratch.file(`reset-${transport}.img`, 4096 * sectorBytes)];
      const cmdline = 'tests=write,reset sectors=64 chunk=8 depth=8 resets=4';
      const output = await runClean('virtio-blk', { transport, disks, cmdline });
      expect(output).toContain('blk reset: 4 times with 8 requests in flight');
    },
  );

  test.each(['pci', 'mmio'] as const)('the kernel answers doorbells without an exit (%s)', async (transport) => {
    await using vm = await startGuest('virtio-rng', { transport, cmdline: 'doorbells=5000' });
    expect(await vm.exited).toMatchObject({ debugExit: 0 });
    expect(vm.metrics().exits['mmio']).toBeGreaterThan(20);
    expect(vm.metrics().exits['mmio']).toBeLessThan(1000);
  });

  test('console: input, output, size', async () => {
    await using vm = await startGuest('virtio-console', mmio({ console: { device: 'virtio', buffer: '1M' } }));
    await vm.console.waitFor('hello from virtio-console');
    vm.console.write('some text\n');
    await vm.console.waitFor('echo: some text\r\n');
    vm.console.resize(101, 37);
    await vm.console.waitFor('size 101x37\r\n');
    vm.console.write('burst 50\nquit\n');
    await vm.console.waitFor('bye');
    expect(await vm.exited).toMatchObject({ reason: 'power-off', debugExit: 0 });
  });

  test('a guest that reboots finds its devices again', async () => {
    const disks = [scratch.file('reboot.img', 256 * sectorBytes)];
    await runClean('reset', mmio({ disks, cmdline: 'count=3 store=disk' }));
  });

  test('more devices than interrupt lines are refused by number', async () => {
    const disks = Array.from({ length: 15 }, (_, i) => scratch.file(`many${i}.img`, sectorBytes));
    await expect(startGuest('virtio-rng', mmio({ disks }))).rejects.toThrow(
      '16 devices, but there are interrupt lines for 15 with transport mmio',
    );
  });
});

describe.skipIf(whyNoKvm !== undefined)('the MP table', () => {
  test.each([
    ['pci', 128],
    ['mmio', 0],
  ] as const)('names all CPUs and lines (%s)', async (transport, interrupts) => {
    const output = await runClean('smp', { transport, cpus: 3, cmdline: 'table=mp' });
    expect(output).toContain(`smp: 3 cpus by the MP table, ${interrupts} pci interrupts`);
    expect(output).toContain('smp 3 ok');
  });
});
