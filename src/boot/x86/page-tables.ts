/**
 * Identity page tables for the first 4 GiB, in 2 MiB pages, as the 64-bit boot protocol wants of whoever enters a kernel
 * (it must find itself, the zero page and the command line mapped; everything a loader places is below 4 GiB but for a
 * large initrd, which kernels map themselves). 2 MiB pages exist on every x86-64 CPU, 1 GiB pages do not. Main thread.
 */
const PAGE = 4096;
const ENTRIES = 512;
const LARGE_PAGE = 2 * 1024 * 1024;
const GIGABYTES = 4;

/** Intel SDM vol. 3A §4.5. */
const presentWritable = 0x3;
const pageSize = 0x80;

/** PML4, one PDPT, four page directories. */
export const pageTablesSize = (2 + GIGABYTES) * PAGE;

/** Tables to be placed at `base`, a page boundary below 4 GiB; CR3 is `base`. */
export function buildPageTables(base: number): Uint8Array {
  const words = new Uint32Array(pageTablesSize / 4);
  const set = (table: number, index: number, address: number, flags: number): void => {
    words[(table * ENTRIES + index) * 2] = address + flags; // addresses are below 4 GiB: the high words stay zero
  };
  set(0, 0, base + PAGE, presentWritable);
  for (let g = 0; g < GIGABYTES; g++) {
    const directory = 2 + g;
    set(1, g, base + directory * PAGE, presentWritable);
    for (let i = 0; i < ENTRIES; i++) set(directory, i, (g * ENTRIES + i) * LARGE_PAGE, presentWritable | pageSize);
  }
  return new Uint8Array(words.buffer);
}
