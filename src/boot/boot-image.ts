/**
 * What a boot needs in the guest's memory and registers, decided before the guest exists. Main thread.
 *
 * Loaders produce one `BootImage`; the machine copies its segments into guest RAM and sets the first vCPU's registers
 * from `entry`. Nothing here touches KVM.
 */
export interface Segment {
  /** Guest-physical address. */
  readonly address: number;
  readonly data: Uint8Array;
}

/**
 * How vCPU 0 starts. `long64`: Linux 64-bit boot protocol (paging on, identity map, RSI = zero page).
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
