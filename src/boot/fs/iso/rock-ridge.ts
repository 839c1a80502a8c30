/**
 * What Rock Ridge says of a file: POSIX name and kind, symbolic links, relocated directories, and files that are stored
 * compressed (Rock Ridge Interchange Protocol 1.12 §4.1). Main thread.
 */
import { damaged } from '../damage.js';
import { type FileStat, maxPath } from '../file-system.js';
import type { SuspEntry } from './susp.js';

/** POSIX names have 255 bytes. */
const maxName = 255;
const nameFlag = { current: 0x02, parent: 0x04 } as const;
const linkFlag = { current: 0x02, parent: 0x04, root: 0x08 } as const;
const continues = 0x01;
const formatMask = 0xf000;
const kinds: Readonly<Record<number, FileStat['kind']>> = { 16384: 'directory', 32768: 'file', 40960: 'symlink' };
/** Identifiers in `ER` of all versions. */
const extensions = ['RRIP_1991A', 'IEEE_P1282', 'IEEE_1282'];
/** `SP`: two check bytes, then how many bytes of each system use area are not SUSP's (SUSP §5.3). */
const checkBytes = Buffer.from([0xbe, 0xef]);

export interface RockRidge {
  /** Empty if it has none: then the plain name stands. */
  readonly name: string;
  readonly kind: FileStat['kind'] | undefined;
  /** What a symbolic link says. */
  readonly target: string | undefined;
  /** Block of a directory that was moved because it lies too deep for ECMA-119 (`CL`). */
  readonly relocatedTo: number | undefined;
  /** This is the moved directory in its hidden place (`RE`). */
  readonly relocated: boolean;
  /** zisofs: the content is stored compressed (`ZF`). */
  readonly compressed: boolean;
}

/** How many bytes to skip in every system use area, if the root's own record announces Rock Ridge. */
export function skipOf(entries: readonly SuspEntry[]): number | undefined {
  const [first] = entries;
  if (first?.signature !== 'SP' || first.data.length < 3 || !first.data.subarray(0, 2).equals(checkBytes))
    return undefined;
  const isRockRidge = entries.some(
    ({ signature, data }) => signature === 'PX' || (signature === 'ER' && data.length > 4 && isExtension(data)),
  );
  return isRockRidge ? first.data[2] : undefined;
}

const isExtension = (data: Buffer): boolean => extensions.includes(data.toString('latin1', 4, 4 + data[0]!));

export function rockRidgeOf(entries: readonly SuspEntry[]): RockRidge {
  const name: Buffer[] = [];
  let kind: FileStat['kind'] | undefined;
  let relocatedTo: number | undefined;
  let relocated = false;
  let compressed = false;
  const link = new LinkTarget();
  for (const { signature, data } of entries) {
    switch (signature) {
      case 'NM':
        name.push(alternateName(data));
        break;
      case 'PX':
        if (data.length < 8) throw damaged('ISO 9660: Rock Ridge attributes (PX) are cut off');
        kind = kinds[data.readUInt32LE(0) & formatMask] ?? 'other';
        break;
      case 'SL':
        link.add(data);
        break;
      case 'CL':
        if (data.length < 8) throw damaged('ISO 9660: a relocated directory (CL) is cut off');
        relocatedTo = data.readUInt32LE(0);
        break;
      case 'RE':
        relocated = true;
        break;
      case 'ZF':
        compressed = true;
        break;
    }
  }
  return { name: nameOf(name), kind, target: link.text, relocatedTo, relocated, compressed };
}

/** §4.1.4. Flags first; `.` and `..` are not spelt out. */
const alternateName = (data: Buffer): Buffer =>
  (data[0] ?? 0) & (nameFlag.current | nameFlag.parent) ? Buffer.alloc(0) : data.subarray(1);

/** The parts may divide a character. */
function nameOf(parts: readonly Buffer[]): string {
  const name = Buffer.concat(parts);
  if (name.length > maxName || name.includes(0) || name.includes(0x2f))
    throw damaged('ISO 9660: a Rock Ridge name (NM) that is none');
  return name.toString('utf8');
}

/** §4.1.3.1: components with flags, each perhaps continued in the next one, and the whole in the next `SL`. */
class LinkTarget {
  /** Bytes, one in each character: parts may divide a character of UTF-8. */
  #bytes: string | undefined;
  #separate = false;

  get text(): string | undefined {
    return this.#bytes === undefined ? undefined : Buffer.from(this.#bytes, 'latin1').toString('utf8');
  }

  add(data: Buffer): void {
    this.#bytes ??= '';
    for (let at = 1; at + 2 <= data.length; ) {
      const flags = data[at]!;
      const end = at + 2 + data[at + 1]!;
      if (end > data.length) throw damaged('ISO 9660: a component of a symbolic link (SL) is cut off');
      this.#component(flags, data.toString('latin1', at + 2, end));
      at = end;
    }
  }

  #component(flags: number, content: string): void {
    const isRoot = (flags & linkFlag.root) !== 0;
    const word = isRoot ? '/' : flags & linkFlag.current ? '.' : flags & linkFlag.parent ? '..' : content;
    this.#bytes += `${this.#separate ? '/' : ''}${word}`;
    this.#separate = (flags & continues) === 0 && !isRoot;
    if (this.#bytes!.length > maxPath) throw damaged(`ISO 9660: a symbolic link (SL) of more than ${maxPath} bytes`);
  }
}
