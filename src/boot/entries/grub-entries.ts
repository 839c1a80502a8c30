/**
 * Finds the GRUB configuration that a firmware's boot would end up in. Main thread.
 *
 * A BIOS loads GRUB from the disk's first sectors, UEFI from the EFI System Partition, and both know their directory by
 * what `grub-install` wrote into them. Without running either, it is the directory with a grub.cfg; where several
 * partitions have one, the small grub.cfg on the EFI System Partition says which.
 */
import { TsvmmError } from '../../errors.js';
import { DiskBudget } from '../disk-budget.js';
import { Budget, grubLimits } from '../grub/budget.js';
import { readGrubConfig } from '../grub/grub-config.js';
import { type EntryList, type FoundEntries, isBootable } from './boot-entry.js';
import { type Volume, volumeName } from './volume.js';
import { withHint } from './with-hint.js';

interface Candidate {
  readonly volume: Volume;
  readonly path: string;
}

/** Debian's place, the same on a /boot partition, and those of distributions that call the program grub2. */
const configPaths = ['/boot/grub/grub.cfg', '/grub/grub.cfg', '/boot/grub2/grub.cfg', '/grub2/grub.cfg'];
/** Vendor directories looked at on one EFI System Partition. */
const maxVendors = 64;
/** Configurations run on one disk. */
const maxConfigs = 8;

export async function findGrubEntries(volumes: readonly Volume[], budget = new DiskBudget()): Promise<FoundEntries> {
  const problems: string[] = [];
  const candidates = await findConfigs(volumes, problems);
  const deadline = budget.work + grubLimits.milliseconds;
  let first: EntryList = { entries: [], defaultEntry: undefined };
  if (candidates.length > maxConfigs) {
    problems.push(`the disk has ${candidates.length} GRUB configurations; only ${maxConfigs} are read`);
  }
  for (const candidate of candidates.slice(0, maxConfigs)) {
    budget.check();
    const name = `${candidate.path} of ${volumeName(candidate.volume.partition)}`;
    try {
      const found = await readGrubConfig(volumes, { ...candidate, budget: new Budget(budget, deadline) });
      problems.push(...found.problems.map((problem) => `${name}: ${problem}`));
      if (found.entries.some(isBootable))
        return { ...found, problems: [...problems, ...ignored(candidates, candidate, found)] };
      if (found.entries.length === 0) problems.push(`${name} offers nothing to boot`);
      if (first.entries.length === 0) first = found;
    } catch (error) {
      if (!(error instanceof TsvmmError)) throw error;
      problems.push(`${name}: ${error.message}`);
    }
  }
  return { ...first, problems };
}

/** Main configurations that nothing led to. */
function ignored(candidates: readonly Candidate[], used: Candidate, { entries }: EntryList): string[] {
  return candidates
    .filter(({ volume, path }) => configPaths.includes(path) && volume !== used.volume)
    .filter(
      ({ volume, path }) =>
        !entries.some(({ source }) => source.partition === volume.partition && source.path === path),
    )
    .map(
      ({ volume, path }) =>
        `${volumeName(volume.partition)} has a GRUB configuration of its own (${path}); its entries are not listed`,
    );
}

async function findConfigs(volumes: readonly Volume[], problems: string[]): Promise<Candidate[]> {
  const main: Candidate[] = [];
  const efi: Candidate[] = [];
  for (const volume of volumes) {
    try {
      for (const path of configPaths) if (await isFile(volume, path)) main.push({ volume, path });
      if (volume.fs.type.startsWith('fat')) efi.push(...(await efiConfigs(volume)));
    } catch (error) {
      if (!(error instanceof TsvmmError)) throw error;
      problems.push(`${volumeName(volume.partition)}: ${withHint(error)}`);
    }
  }
  const partitions = new Set(main.map(({ volume }) => volume.partition));
  return partitions.size > 1 ? [...efi, ...main] : [...main, ...efi];
}

const isFile = async (volume: Volume, path: string): Promise<boolean> => (await volume.fs.stat(path))?.kind === 'file';

/** `/EFI/VENDOR/grub.cfg`; `BOOT`, the directory for removable disks, after the installed vendors. */
async function efiConfigs(volume: Volume): Promise<Candidate[]> {
  if ((await volume.fs.stat('/EFI'))?.kind !== 'directory') return [];
  const vendors = (await volume.fs.list('/EFI')).filter(({ kind }) => kind === 'directory').map(({ name }) => name);
  const isFallback = (name: string): number => (name.toUpperCase() === 'BOOT' ? 1 : 0);
  const sorted = vendors.slice(0, maxVendors).sort((a, b) => isFallback(a) - isFallback(b) || (a < b ? -1 : 1));
  const found: Candidate[] = [];
  for (const vendor of sorted) {
    const path = `/EFI/${vendor}/grub.cfg`;
    if (await isFile(volume, path)) found.push({ volume, path });
  }
  return found;
}
