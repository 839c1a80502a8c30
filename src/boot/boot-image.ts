/**
 * What a boot needs in the guest's memory and registers, decided before the guest exists. Main thread.
 *
 * Loaders produce one `BootImage`; the machine copies its segments into guest RAM and sets the first vCPU's registers
 * from `entry`. Nothing here touches KVM. All RAM outside the segments must be zero: what a kernel calls .bss is not
 * among them.
 */
export interface Segment {
  /** What it is, for messages: "kernel", "initrd", "zero page". */
  readonly name: string;
  /** Guest-physical address. */
  readonly address: number;
  /** Often a view of the caller's file, not a copy: neither may be changed until the machine has copied it. */
  readonly data: Uint8Array;
}

/**
 * How vCPU 0 starts, interrupts off and all other general registers zero. The descriptor table at `gdt` has the limit
 * `gdtLimit` and the selectors `bootSelectors` of x86/gdt.ts: CS, then DS, ES, SS (FS, GS) and TR, all flat.
 *
 * `long64`: Linux 64-bit boot protocol (CR0.PG, CR4.PAE, EFER.LME and LMA on, CR3 = `pageTables`, RSI = zero page).
 * `pvh32`: PVH (32-bit protected mode, paging off, EBX = start info).
 */
export type Entry =
  | {
      readonly mode: 'long64';
      readonly rip: number;
      readonly rsi: number;
      readonly pageTables: number;
      readonly gdt: number;
      readonly stack: number;
    }
  | { readonly mode: 'pvh32'; readonly rip: number; readonly ebx: number; readonly gdt: number };

export interface BootImage {
  readonly segments: readonly Segment[];
  readonly entry: Entry;
  /** What was loaded, for `-v` and for error reports: "bzImage 6.1.0-13-cloud-amd64, 64-bit entry". */
  readonly description: string;
}
