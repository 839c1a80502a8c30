/**
 * One thing that a disk offers to boot. Main thread.
 */
import type { FileReference } from './volume.js';

export interface BootEntry {
  readonly kind: EntryKind;
  readonly title: string;
  /**
   * GRUB's `--id`, for a Boot Loader Specification entry in its menu the file's name without `.conf`; elsewhere such a file's
   * name without boot counters; a SYSLINUX label. The title where there is none.
   */
  readonly id: string;
  /** Titles of the submenus around it and its own, joined by `>`; a `>` inside a title is doubled, as GRUB writes it. */
  readonly path: string;
  /** Positions, from 0, in each menu on the way, joined by `>`: what GRUB's `default` may also hold. */
  readonly indexPath: string;
  /** Undefined if the entry loads no Linux kernel; `problem` says what it does instead. */
  readonly kernel: FileReference | undefined;
  readonly initrds: readonly FileReference[];
  /** As the image asks for it, and `gpt` where the kernel finds the disk's partitions only with it; empty without a kernel. */
  readonly cmdline: string;
  /** What the entry was read from: a configuration file or the kernel itself. */
  readonly source: FileReference;
  /** Why it cannot be booted; undefined if it can. */
  readonly problem: string | undefined;
}

/**
 * What an entry comes from: GRUB's configuration; a Boot Loader Specification entry in GRUB's menu (`blscfg`); one of its own
 * (`bls`); a unified kernel image; another EFI program; a SYSLINUX configuration (extlinux, isolinux); a kernel that was
 * found without any.
 */
export type EntryKind = 'grub' | 'blscfg' | 'bls' | 'uki' | 'efi' | 'syslinux' | 'kernel';

/** Entries in the order of the menu, and what would boot if nobody chose. */
export interface EntryList {
  readonly entries: readonly BootEntry[];
  /** Position in `entries`; undefined if nothing in it can be booted. */
  readonly defaultEntry: number | undefined;
}

/** What one kind of boot loader would offer. */
export interface FoundEntries extends EntryList {
  /** What the user should know of its configuration. */
  readonly problems: readonly string[];
}

export const isBootable = (entry: BootEntry): boolean => entry.kernel !== undefined && entry.problem === undefined;

/**
 * What to boot instead of an entry that cannot be: the first bootable one, those with an initrd before those without,
 * since a distribution's kernel has the drivers of its disk there.
 */
export function firstBootable(entries: readonly BootEntry[]): number | undefined {
  const withInitrd = entries.findIndex((entry) => isBootable(entry) && entry.initrds.length > 0);
  const index = withInitrd >= 0 ? withInitrd : entries.findIndex(isBootable);
  return index >= 0 ? index : undefined;
}
