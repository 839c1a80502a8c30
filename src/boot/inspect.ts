/**
 * What `tsvmm image inspect` prints: a `DiskInspection` as text for people and as JSON for programs. Main thread.
 *
 * Labels, titles and command lines come from the image. In the text, characters that would steer a terminal are escaped;
 * the JSON has them as they are, escaped where it is printed.
 */
import { fallbackLoader } from './bls/other-loaders.js';
import { type BootEntry, type EntryKind, isBootable } from './entries/boot-entry.js';
import type { DiskInspection, InspectedPartition } from './entries/inspection.js';
import { printable, shortened } from './entries/printable.js';
import { type FileReference, volumeName } from './entries/volume.js';
import { syslinuxName } from './syslinux/config-places.js';

/** Version of the JSON; it grows when a field changes its meaning or goes, not when one is added. */
const schemaVersion = 1;

/** Stable. Sizes and offsets are bytes; `null` where there is nothing. */
export interface InspectionJson {
  readonly schemaVersion: typeof schemaVersion;
  readonly size: number;
  readonly partitionTable: 'gpt' | 'mbr' | 'none';
  readonly sectorSize: number;
  readonly partitions: readonly PartitionJson[];
  /** In the order of `--entry N`, which counts from 1. */
  readonly entries: readonly EntryJson[];
  /** `number` of the entry that would boot. */
  readonly defaultEntry: number | null;
  readonly problems: readonly string[];
}

export interface PartitionJson {
  /** As Linux numbers it; 0: the whole disk; -1, -2 ...: the boot images of a CD (El Torito). */
  readonly number: number;
  readonly start: number;
  readonly size: number;
  readonly type: string | null;
  readonly typeName: string | null;
  readonly name: string | null;
  readonly partUuid: string | null;
  readonly fileSystem: { readonly type: string; readonly label: string | null; readonly uuid: string | null } | null;
  /** By name, what is there instead of a file system that can be read. */
  readonly contents: string | null;
  readonly hint: string | null;
  readonly notes: readonly string[];
}

export interface EntryJson {
  readonly number: number;
  readonly kind: EntryKind;
  readonly loader: LoaderName;
  readonly title: string;
  readonly id: string;
  /** Submenu titles and the entry's own, joined by `>`. */
  readonly path: string;
  readonly bootable: boolean;
  readonly problem: string | null;
  readonly kernel: FileJson | null;
  readonly initrds: readonly FileJson[];
  readonly cmdline: string;
  readonly source: FileJson;
}

export interface FileJson {
  /** As `PartitionJson.number`. */
  readonly partition: number;
  readonly path: string;
  /** `.linux`, `.initrd`: only this part of a unified kernel image. */
  readonly section: string | null;
}

const fileJson = ({ partition, path, section }: FileReference): FileJson => ({
  partition,
  path,
  section: section?.name ?? null,
});

/** Whose menu an entry is in; `firmware`: nobody's, it is started by itself; `kernel-files`: found without any. */
export type LoaderName = 'grub' | 'systemd-boot' | 'extlinux' | 'isolinux' | 'syslinux' | 'firmware' | 'kernel-files';

function loaderOf({ kind, source }: BootEntry): LoaderName {
  if (kind === 'grub' || kind === 'blscfg') return 'grub';
  if (kind === 'kernel') return 'kernel-files';
  if (kind === 'syslinux') return syslinuxName(source.path);
  return kind === 'uki' && source.path === fallbackLoader ? 'firmware' : 'systemd-boot';
}

const orNull = (text: string | undefined): string | null => (text === undefined || text === '' ? null : text);

export function inspectionJson(inspection: DiskInspection): InspectionJson {
  return {
    schemaVersion,
    size: inspection.size,
    partitionTable: inspection.scheme,
    sectorSize: inspection.sectorSize,
    partitions: inspection.partitions.map((partition) => ({
      number: partition.index,
      start: partition.start,
      size: partition.size,
      type: orNull(partition.type),
      typeName: orNull(partition.typeName),
      name: orNull(partition.name),
      partUuid: orNull(partition.uuid),
      fileSystem:
        partition.fileSystem === undefined
          ? null
          : {
              type: partition.fileSystem.type,
              label: orNull(partition.fileSystem.label),
              uuid: orNull(partition.fileSystem.uuid),
            },
      contents: orNull(partition.contents),
      hint: orNull(partition.hint),
      notes: partition.notes,
    })),
    entries: inspection.entries.map((entry, index) => ({
      number: index + 1,
      kind: entry.kind,
      loader: loaderOf(entry),
      title: entry.title,
      id: entry.id,
      path: entry.path,
      bootable: isBootable(entry),
      problem: orNull(entry.problem),
      kernel: entry.kernel === undefined ? null : fileJson(entry.kernel),
      initrds: entry.initrds.map(fileJson),
      cmdline: entry.cmdline,
      source: fileJson(entry.source),
    })),
    defaultEntry: inspection.defaultEntry === undefined ? null : inspection.defaultEntry + 1,
    problems: inspection.problems,
  };
}

const tableNames = { gpt: 'GPT', mbr: 'MBR', none: 'no partition table' } as const;

/** Ends with a newline. */
export function renderInspection(inspection: DiskInspection): string {
  const { partitions, entries, defaultEntry, problems } = inspection;
  const sectors = inspection.sectorSize === 512 ? '' : `, ${inspection.sectorSize}-byte sectors`;
  const lines = [`Disk: ${formatSize(inspection.size)}, ${tableNames[inspection.scheme]}${sectors}`, ''];
  lines.push(...partitionTable(partitions));
  lines.push('', 'Boot entries:', ...entryLines(entries, defaultEntry));
  const chosen = defaultEntry === undefined ? undefined : entries[defaultEntry];
  if (chosen !== undefined) lines.push('', 'Would boot:', ...detailLines(chosen));
  if (problems.length > 0) lines.push('', 'Problems:', ...problems.map((problem) => `  ${printable(problem)}`));
  return `${lines.join('\n')}\n`;
}

function partitionTable(partitions: readonly InspectedPartition[]): string[] {
  if (partitions.length === 0) return ['No partitions.'];
  const lines: string[] = [];
  const rows = partitions.map(({ index, start, size, typeName, type, fileSystem, contents }) => [
    index === 0 ? 'disk' : index < 0 ? `boot ${-index}` : String(index),
    formatSize(start),
    formatSize(size),
    shortened(typeName || type || '-', 32),
    fileSystem?.type ?? shortened(contents ?? '-', 32),
    shortened(fileSystem?.label || '-', 32),
    shortened(fileSystem?.uuid || '-', 36),
  ]);
  const [heading = '', ...table] = alignColumns([
    ['Partition', 'Start', 'Size', 'Type', 'File system', 'Label', 'UUID'],
    ...rows,
  ]);
  lines.push(heading);
  for (const [index, { notes, hint }] of partitions.entries()) {
    lines.push(table[index] ?? '');
    for (const note of [...notes, ...(hint === undefined ? [] : [hint])]) lines.push(`  note: ${printable(note)}`);
  }
  return lines;
}

/** Columns two spaces apart; sizes, the second and third, to the right. */
function alignColumns(rows: readonly (readonly string[])[]): string[] {
  const widths = (rows[0] ?? []).map((_, column) => Math.max(...rows.map((row) => row[column]?.length ?? 0)));
  const isSize = (column: number): boolean => column === 1 || column === 2;
  return rows.map((row) =>
    row
      .map((cell, column) => (isSize(column) ? cell.padStart(widths[column] ?? 0) : cell.padEnd(widths[column] ?? 0)))
      .join('  ')
      .trimEnd(),
  );
}

function entryLines(entries: readonly BootEntry[], defaultEntry: number | undefined): string[] {
  if (entries.length === 0) return ['  none'];
  const width = String(entries.length).length;
  const kindWidth = Math.max(...entries.map(({ kind }) => kind.length));
  return entries.flatMap(({ kind, path, problem }, index) => {
    const mark = index === defaultEntry ? '*' : ' ';
    const line = `${mark} ${String(index + 1).padStart(width)}  ${kind.padEnd(kindWidth)}  ${printable(path)}`;
    return problem === undefined
      ? [line]
      : [line, `${' '.repeat(width + 6)}cannot be booted: ${shortened(problem, 200)}`];
  });
}

function detailLines(entry: BootEntry): string[] {
  const file = ({ partition, path, section }: FileReference): string =>
    `${section === undefined ? '' : `${section.name} of `}${printable(path)} of ${volumeName(partition)}`;
  const details: [string, string][] = [
    ['Title', printable(entry.title)],
    ['Kind', kindNames[entry.kind]],
  ];
  if (entry.kernel !== undefined) details.push(['Kernel', file(entry.kernel)]);
  for (const initrd of entry.initrds) details.push(['Initrd', file(initrd)]);
  details.push(['Command line', printable(entry.cmdline)], ['From', file(entry.source)]);
  const width = Math.max(...details.map(([name]) => name.length));
  return details.map(([name, value]) => `  ${name.padEnd(width)}  ${value}`);
}

const kindNames: Readonly<Record<EntryKind, string>> = {
  grub: 'GRUB configuration',
  blscfg: 'Boot Loader Specification entry in the GRUB menu',
  bls: 'Boot Loader Specification entry',
  uki: 'unified kernel image',
  efi: 'EFI program',
  syslinux: 'SYSLINUX configuration',
  kernel: 'kernel file, no configuration',
};

/** "512 B", "1.5 MiB", "20 GiB": at most one decimal. */
export function formatSize(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB', 'PiB'];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  const rounded = Math.round(value * 10) / 10;
  return `${rounded} ${units[unit]}`;
}
