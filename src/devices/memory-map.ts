/**
 * The machine's physical address map, port map and interrupt lines: the one place where they are decided. Any thread.
 *
 * Devices, the machine's wiring and the tables that describe them to the guest (src/boot/x86) all read these constants,
 * so that what ACPI announces is what the bus answers. The addresses are those of a PC with a Q35-like chipset, because
 * that is what stock kernels have met most. GSIs are fixed for the life of a VM (docs: memory map).
 */
export interface MemoryRegion {
  /** Guest-physical address of the first byte. */
  readonly start: number;
  /** Bytes. */
  readonly size: number;
}

export interface PortRange {
  readonly base: number;
  readonly size: number;
}

const KIB = 1024;
const MIB = 1024 * KIB;
const GIB = 1024 * MIB;

/** First byte after a region. */
export const endOf = (region: MemoryRegion): number => region.start + region.size;

/** Addresses from here to 4 GiB belong to devices; RAM beyond it continues at 4 GiB. */
export const deviceHole: MemoryRegion = { start: 0xc000_0000, size: GIB };
/** BARs of 32-bit width are placed here; the host bridge's _CRS announces it. */
export const bar32Window: MemoryRegion = { start: 0xc000_0000, size: 512 * MIB };
/** Bus 0 is all there is. Linux looks for peers at every bus that the MCFG covers: docs/decisions/0009-one-pci-bus.md. */
export const pciBuses = 1;
/** PCI Express enhanced configuration space, 1 MiB for a bus (PCIe base spec §7.2.2). */
export const ecam: MemoryRegion = { start: 0xe000_0000, size: pciBuses * MIB };
export const ioapic: MemoryRegion = { start: 0xfec0_0000, size: 4 * KIB };
export const localApic: MemoryRegion = { start: 0xfee0_0000, size: 4 * KIB };
/** KVM_SET_IDENTITY_MAP_ADDR: a page that Intel hosts without unrestricted guest need (KVM API §4.40). */
export const kvmIdentityMap: MemoryRegion = { start: 0xfffb_c000, size: 4 * KIB };
/** KVM_SET_TSS_ADDR: three pages, for the same hosts (KVM API §4.36). */
export const kvmTss: MemoryRegion = { start: 0xfffb_d000, size: 12 * KIB };
/** Where RAM continues above the device hole. */
export const highRamStart = 4 * GIB;

/** How the virtio devices of a machine are reached. A machine has one of the two, and no PCI bus with the second. */
export const transports = ['pci', 'mmio'] as const;
export type Transport = (typeof transports)[number];

const kvmReserved: MemoryRegion = { start: kvmIdentityMap.start, size: endOf(kvmTss) - kvmIdentityMap.start };
/** What no driver may use although nothing in the PCI windows says so: e820 lists it as reserved. */
export const platformReserved: Readonly<Record<Transport, readonly MemoryRegion[]>> = {
  pci: [ecam, kvmReserved],
  mmio: [kvmReserved],
};

/** RAM ends here as far as BIOS-era code is concerned: the extended BIOS data area of a PC follows. */
export const legacyAreaStart = 0x9_fc00;
/** From here RAM is plain again. */
export const legacyAreaEnd = 0x10_0000;
/** ACPI tables. A guest that was not told where the RSDP is searches from here in 16-byte steps (ACPI 6.5 §5.2.5.1). */
export const acpiArea: MemoryRegion = { start: 0xe_0000, size: 60 * KIB };
/** A page of its own for the generation identifier, which the host changes under a guest that is restored (vmgenid.ts). */
export const generationId: MemoryRegion = { start: 0xe_f000, size: 16 };
/** The MP table, its floating pointer first: a guest searches the BIOS's 64 KiB for it (MP specification 1.4 §4). */
export const mpArea: MemoryRegion = { start: 0xf_0000, size: 64 * KIB };

/** Guest RAM of `bytes`: below the device hole, then from 4 GiB up. */
export function ramRegions(bytes: number): MemoryRegion[] {
  const low = Math.min(bytes, deviceHole.start);
  const regions: MemoryRegion[] = [{ start: 0, size: low }];
  if (bytes > low) regions.push({ start: highRamStart, size: bytes - low });
  return regions;
}

/** BARs stay within this much, so that the window is the same on hosts with 40 and with 52 address bits. */
const BAR64_WINDOW_MAX = 512 * GIB;

/**
 * Where 64-bit BARs are placed: above RAM, on a 1 GiB boundary, inside the physical address width that the guest's CPUID
 * leaf 0x80000008 announces. Undefined if less than 1 GiB is left; devices then use the 32-bit window alone.
 */
export function bar64Window(ramEnd: number, physicalBits: number): MemoryRegion | undefined {
  const start = Math.ceil(Math.max(ramEnd, highRamStart) / GIB) * GIB;
  const size = Math.min(2 ** physicalBits - start, BAR64_WINDOW_MAX);
  return size >= GIB ? { start, size } : undefined;
}

/** I/O ports. */
export const ports = {
  i8042Data: { base: 0x60, size: 1 },
  /** Also the ACPI reset register, see `acpiReset`. */
  i8042Command: { base: 0x64, size: 1 },
  rtc: { base: 0x70, size: 2 },
  /** A byte written here ends the VM; for tests only. */
  debugExit: { base: 0xf4, size: 1 },
  serial: { base: 0x3f8, size: 8 },
  pvpanic: { base: 0x505, size: 1 },
  /** PM1a status (2 bytes) and enable (2 bytes), ACPI 6.5 §4.8.3.1. */
  pm1Event: { base: 0x600, size: 4 },
  /** PM1a control, ACPI 6.5 §4.8.3.2. SCI_EN reads as one from the start. */
  pm1Control: { base: 0x604, size: 2 },
  /** 24 bits counting at 3.579545 MHz (FADT flag TMR_VAL_EXT is clear), ACPI 6.5 §4.8.3.3. */
  pmTimer: { base: 0x608, size: 4 },
  pciConfigAddress: { base: 0xcf8, size: 4 },
  pciConfigData: { base: 0xcfc, size: 4 },
} as const satisfies Record<string, PortRange>;

/** The FADT's reset register is the i8042's "pulse reset" command, so one device answers every way to reset. */
export const acpiReset = { port: ports.i8042Command.base, value: 0xfe } as const;
/** SLP_TYP of the DSDT's _S5. Not zero, so that a stray SLP_EN does not power the machine off. */
export const acpiSleepTypeS5 = 5;
/** CMOS register of the century, BCD; the FADT names it. */
export const rtcCenturyRegister = 0x32;

/** Global system interrupts (contract with KVM_SET_GSI_ROUTING: GSI n is IOAPIC pin n but for the timer). */
export const gsi = {
  /** ISA IRQ 0 arrives at IOAPIC pin 2; the MADT says so. */
  timer: 0,
  timerPin: 2,
  /** Edge. */
  serial: 4,
  /** Edge. */
  rtc: 8,
  /** Level, active high. */
  sci: 9,
  /** Edge: the generic event device; where a PC has its mouse. */
  events: 12,
  /**
   * Edge, one device each: the ISA lines that nothing else has, then those that INTx has where there is a PCI bus. They
   * are not shared: an edge that arrives while another device's pulse is still high is lost.
   */
  virtioMmio: [5, 6, 7, 10, 11, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23],
  /** Level, shared: INTx of the PCI slots. */
  pciFirst: 16,
  pciCount: 8,
  /** From here GSIs are MSI routes. */
  msiFirst: 24,
} as const;

export const ioapicPins = 24;
export const pciSlots = 32;
export const pciPins = 4;

/** Registers of the first virtio-mmio device; those of the others follow, below the IOAPIC. */
const virtioMmioStart = 0xfeb0_0000;
/** A device's control registers and its configuration (virtio 1.2 §4.2.2). */
export const virtioMmioPage = 4 * KIB;
/** One device for each interrupt line. */
export const maxVirtioMmio = gsi.virtioMmio.length;

/** Where the registers of virtio-mmio device `device` are, and the line that it interrupts by. */
export const virtioMmioPlace = (device: number): { readonly region: MemoryRegion; readonly gsi: number } => ({
  region: { start: virtioMmioStart + device * virtioMmioPage, size: virtioMmioPage },
  gsi: gsi.virtioMmio[device]!,
});

/** The line of `pin` (0 = INTA) of `slot` on bus 0. Also what _PRT says, so both come from here. */
export const pciIntxGsi = (slot: number, pin: number): number => gsi.pciFirst + ((slot + pin) % gsi.pciCount);
