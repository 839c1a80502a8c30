/**
 * Which entry to boot: the default, or the one that the user names; and the errors that say what there is. Main thread.
 */
import { TsvmmError } from '../../errors.js';
import { type BootEntry, isBootable } from './boot-entry.js';
import type { DiskInspection, InspectedPartition } from './inspection.js';
import { shortened } from './printable.js';
import { volumeName } from './volume.js';

const directKernel = 'Pass a kernel with boot: { kernel, initrd, cmdline }.';
/** Lines of a list inside an error message. */
const maxListed = 20;

/**
 * The entry for `selector`: a number counts from 1, as `tsvmm image inspect` prints them; a string is, in this order, an
 * exact title, id or submenu path (`Advanced options>Linux 6.1`), a number, or a part of exactly one path in any case.
 * Without a selector, what the disk itself would boot. Throws `ERR_TSVMM_BOOT_NOT_FOUND`.
 */
export function chooseEntry(inspection: DiskInspection, selector?: number | string): BootEntry {
  const entry = selector === undefined ? defaultOf(inspection) : select(inspection, selector);
  if (isBootable(entry)) return entry;
  throw new TsvmmError(
    'ERR_TSVMM_BOOT_NOT_FOUND',
    `the boot entry '${shortened(entry.path)}' cannot be booted: ${shortened(entry.problem ?? '', 500)}`,
    {
      hint: `Choose another entry with boot.entry. ${directKernel}`,
      details: { title: entry.title },
    },
  );
}

function defaultOf(inspection: DiskInspection): BootEntry {
  const entry = inspection.defaultEntry === undefined ? undefined : inspection.entries[inspection.defaultEntry];
  if (entry === undefined) throw nothingToBoot(inspection);
  return entry;
}

function select(inspection: DiskInspection, selector: number | string): BootEntry {
  const { entries } = inspection;
  if (entries.length === 0) throw nothingToBoot(inspection);
  const byNumber = (number: number): BootEntry | undefined => entries[number - 1];
  if (typeof selector === 'number') return byNumber(selector) ?? fail(`there is no boot entry ${selector}`, entries);

  const exact =
    entries.find(({ title }) => title === selector) ??
    entries.find(({ id, path }) => id === selector || path === selector) ??
    (selector.includes('>') ? entries.find(({ indexPath }) => indexPath === selector) : undefined);
  if (exact !== undefined) return exact;
  if (/^[0-9]+$/.test(selector))
    return byNumber(Number(selector)) ?? fail(`there is no boot entry ${shortened(selector)}`, entries);
  const wanted = selector.toLowerCase();
  const similar = entries.filter(({ path }) => path.toLowerCase().includes(wanted));
  const [only] = similar;
  if (only !== undefined && similar.length === 1) return only;
  if (similar.length === 0) return fail(`no boot entry is called '${shortened(selector)}'`, entries);
  return fail(`${similar.length} boot entries have '${shortened(selector)}' in their title`, entries);
}

function fail(what: string, entries: readonly BootEntry[]): never {
  const listed = atMost(entries.map(({ path }, index) => `${index + 1}  ${shortened(path)}`));
  throw new TsvmmError(
    'ERR_TSVMM_BOOT_NOT_FOUND',
    `${what}; the disk offers:${listed.map((line) => `\n  ${line}`).join('')}`,
    {
      hint: 'Give the number or the title of one of them as boot.entry.',
      details: { titles: entries.map(({ path }) => path) },
    },
  );
}

/** The disk offers nothing: what is on it instead, partition by partition, and what to do about each. */
function nothingToBoot({ scheme, partitions, entries, problems }: DiskInspection): TsvmmError {
  const lines = [
    ...atMost(partitions.map((partition) => describe(partition, scheme))),
    ...atMost(entries.map(({ path, problem }) => `boot entry '${shortened(path)}': ${shortened(problem ?? '', 300)}`)),
    ...atMost(problems.map((problem) => shortened(problem, 300))),
  ];
  const message = `no bootable Linux was found on the disk:${lines.map((line) => `\n  ${line}`).join('')}`;
  return new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', message, {
    hint: directKernel,
    details: {
      partitions: partitions.map(({ index, fileSystem, contents }) => ({
        index,
        contents: fileSystem?.type ?? contents ?? null,
      })),
    },
  });
}

const atMost = (lines: string[]): string[] =>
  lines.length <= maxListed ? lines : [...lines.slice(0, maxListed), `... ${lines.length - maxListed} more`];

function describe(
  { index, typeName, name, fileSystem, contents, hint, notes }: InspectedPartition,
  scheme: DiskInspection['scheme'],
): string {
  const where = index === 0 && scheme === 'none' ? 'the disk, which has no partition table' : volumeName(index);
  const kind = [typeName, name === '' ? '' : `"${shortened(name, 40)}"`].filter((word) => word !== '').join(' ');
  const named = kind === '' ? where : `${where} (${kind})`;
  if (fileSystem !== undefined)
    return `${named}: ${fileSystem.type} without a boot configuration or kernel that can be used`;
  const details = [...notes, ...(hint === undefined ? [] : [hint])].map((text) => shortened(text, 300)).join(' ');
  return `${named}: ${contents ?? 'nothing that is recognised'}${details === '' ? '' : `. ${details}`}`;
}
