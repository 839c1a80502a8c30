/**
 * All that a disk offers to boot, in the order in which firmware would come to it. Main thread.
 *
 * There is no firmware here and there are no EFI variables, so the disk alone decides, as it does for firmware that sees it
 * for the first time (docs/boot-layouts.md):
 *
 * 1. EFI/BOOT/BOOTX64.EFI on the EFI System Partition, if it is systemd-boot or a unified kernel image;
 * 2. GRUB's configuration;
 * 3. systemd-boot, if it is installed beside them;
 * 4. a SYSLINUX configuration;
 * 5. Boot Loader Specification entries and unified kernel images without a boot loader;
 * 6. the newest kernel that lies on the disk.
 *
 * The first of them with something bootable has the default entry. All are listed, except the kernels of 6, which the
 * others have as well.
 */
import { type BootPartitions, findBootPartitions } from '../bls/boot-partitions.js';
import { noting } from '../bls/menu-entry.js';
import { fallbackLoader, startsSystemdBoot } from '../bls/other-loaders.js';
import { bootEntries, findSystemdBootEntries } from '../bls/systemd-boot.js';
import { readImage } from '../bls/type2.js';
import type { Partition } from '../disk/partition-table.js';
import { DiskBudget } from '../disk-budget.js';
import { findSyslinuxEntries } from '../syslinux/syslinux-entries.js';
import { type BootEntry, type FoundEntries, firstBootable, isBootable } from './boot-entry.js';
import { findGrubEntries } from './grub-entries.js';
import { findKernelFiles } from './kernel-files.js';
import type { Volume } from './volume.js';

/** Where `bootctl install` puts it. */
const systemdBootPath = '/EFI/systemd/systemd-bootx64.efi';

type Source = () => Promise<FoundEntries>;

export async function findEntries(
  volumes: readonly Volume[],
  partitions: readonly Partition[],
  budget = new DiskBudget(),
): Promise<FoundEntries> {
  const problems: string[] = [];
  const note = (text: string): void => void problems.push(text);
  const sources = await sourcesOf(volumes, note, budget);
  const entries: BootEntry[] = [];
  let defaultEntry: number | undefined;
  for (const source of sources) {
    budget.check();
    const found = await source();
    // What is wrong with a boot loader that nobody would come to is not worth telling.
    if (defaultEntry === undefined) problems.push(...found.problems);
    const known = new Set(entries.map(sourceKey));
    const added = found.entries.filter((entry) => !known.has(sourceKey(entry)));
    const chosen = found.defaultEntry === undefined ? undefined : found.entries[found.defaultEntry];
    if (defaultEntry === undefined && chosen !== undefined && added.includes(chosen))
      defaultEntry = entries.length + added.indexOf(chosen);
    entries.push(...added);
  }
  if (entries.some(isBootable)) return { entries, defaultEntry, problems };
  const kernels = await findKernelFiles(volumes, partitions);
  return {
    entries: [...entries, ...kernels.entries],
    defaultEntry: kernels.defaultEntry === undefined ? undefined : entries.length + kernels.defaultEntry,
    problems: [...problems, ...kernels.problems],
  };
}

/** The same file met again, e.g. an entry that GRUB's menu has already. */
const sourceKey = ({ kind, source, id }: BootEntry): string =>
  kind === 'blscfg' || kind === 'bls'
    ? `bls:${source.partition}:${source.path}`
    : `${kind}:${source.partition}:${source.path}:${id}`;

async function sourcesOf(
  volumes: readonly Volume[],
  note: (text: string) => void,
  budget: DiskBudget,
): Promise<Source[]> {
  const none: BootPartitions = { esp: undefined, xbootldr: undefined };
  const boot = (await noting('looking for boot partitions', note, () => findBootPartitions(volumes))) ?? none;
  const { esp } = boot;
  const grub: Source = () => findGrubEntries(volumes, budget);
  const syslinux: Source = () => findSyslinuxEntries(volumes, budget);
  const systemd =
    (installed: boolean): Source =>
    () =>
      findSystemdBootEntries(volumes, boot, installed);
  if (esp !== undefined) {
    if (await startsSystemdBoot(esp, note)) return [systemd(true), grub, syslinux];
    const image = bootEntries(await readImage(esp, fallbackLoader, note));
    const fallback: Source = async () => ({ entries: image, defaultEntry: firstBootable(image), problems: [] });
    if (image.length > 0) return [fallback, grub, syslinux, systemd(false)];
    if ((await noting(systemdBootPath, note, () => esp.fs.stat(systemdBootPath)))?.kind === 'file')
      return [grub, systemd(true), syslinux];
  }
  return [grub, syslinux, systemd(false)];
}
