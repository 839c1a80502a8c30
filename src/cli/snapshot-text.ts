/** What `tsvmm snapshot inspect` says, as text. Main thread; pure. */
import { quote } from '../disk/range.js';
import { formatSize } from '../machine/units.js';
import type { DiskEntry, Manifest } from '../snapshot/manifest.js';
import { table } from './print.js';

export interface Inspection extends Pick<Manifest, 'id' | 'createdAt' | 'tsvmm' | 'parents' | 'machine'> {
  readonly directory: string;
  readonly memory: {
    readonly size: number;
    readonly regions: Manifest['memory']['regions'];
    /** `file` is null where there are only zeroes. */
    readonly pieces: readonly { readonly offset: number; readonly length: number; readonly file: string | null }[];
  };
  readonly disks: readonly (DiskEntry & { readonly now?: 'unchanged' | 'changed' | 'missing' })[];
  /** Registers in hexadecimal digits. */
  readonly vcpus: readonly Readonly<Record<string, string>>[];
  readonly sections: readonly { readonly name: string; readonly length: number }[];
}

export function renderInspection(inspection: Inspection): string {
  const { directory, id, createdAt, tsvmm, memory, parents, disks, vcpus, sections } = inspection;
  const state = sections.reduce((sum, { length }) => sum + length, 0);
  return table(
    [
      ['snapshot', quote(directory)],
      ['id', id],
      ['created', `${createdAt} by tsvmm ${tsvmm}`],
      ['memory', `${formatSize(memory.size)}: ${memory.regions.map(regionText).join(', ')}`],
      ...memory.pieces.map((piece): Row => ['', pieceText(piece)]),
      ...parents.map(({ directory: parent }): Row => ['needs', quote(parent)]),
      ...disks.map((disk, index): Row => [`disk ${index}`, diskText(disk)]),
      ...vcpus.map((registers, cpu): Row => [`vCPU ${cpu}`, registerText(registers)]),
      ['state', `${formatSize(state)} in ${sections.length} sections`],
    ],
    '',
  );
}

type Row = readonly [string, string];

const hex = (value: number): string => `0x${value.toString(16)}`;
const regionText = ({ start, size }: { start: number; size: number }): string =>
  `${hex(start)}-${hex(start + size - 1)}`;
const pieceText = ({ offset, length, file }: Inspection['memory']['pieces'][number]): string =>
  `${formatSize(length)} at ${hex(offset)}: ${file === null ? 'zeroes' : quote(file)}`;

function diskText(disk: Inspection['disks'][number]): string {
  switch (disk.kind) {
    case 'empty':
      return 'empty';
    case 'copy':
      return `${disk.file}, ${formatSize(disk.size)}${disk.sha256 === undefined ? ', without digests' : ''}`;
    case 'reference':
      return `${quote(disk.path)}, ${formatSize(disk.size)}, ${disk.now}`;
  }
}

const registerText = (registers: Inspection['vcpus'][number]): string =>
  ['rip', 'rsp', 'cr3', 'rflags'].map((name) => `${name} ${registers[name]}`).join('  ');
