/**
 * Files as GRUB names them: `(hd0,gpt1)/boot/grub/grub.cfg`, or a path on the device in `$root` (GNU GRUB 2.06 manual §13
 * "How to specify files"). Main thread.
 *
 * The image is `hd0`, the only disk there is. Answers of the file systems are kept, since configurations ask the same
 * again in every entry; damage in one of them is noted once and reads as "not there".
 */
import { TsvmmError } from '../../errors.js';
import { openUki } from '../entries/open-file.js';
import type { FileReference, Volume } from '../entries/volume.js';
import { volumeName } from '../entries/volume.js';
import { withHint } from '../entries/with-hint.js';
import type { DirectoryEntry, FileStat } from '../fs/file-system.js';
import { maxPath, normalPath } from '../fs/file-system.js';
import type { Uki } from '../pe/uki.js';
import { type Budget, grubLimits } from './budget.js';

export interface Located {
  readonly volume: Volume;
  readonly path: string;
}

/** What looking at one directory entry costs, in characters of text. */
const charactersPerEntry = 16;
/** Names kept of all directories that were listed. */
const maxNames = 65_536;

/** GRUB's names for the partitions of each table; the number is Linux's. */
const tableNames = { gpt: 'gpt', mbr: 'msdos', none: '' } as const;

/** Devices that are no partition of this disk, by how their names begin. */
const elsewhere: readonly (readonly [RegExp, string])[] = [
  [/^lvm/, 'is an LVM volume, which is not read'],
  [/^md/, 'is software RAID, which is not read'],
  [/^crypt/, 'is encrypted, and encrypted disks are not read'],
  [/^hd[1-9]/, 'is another disk'],
  [/^(cd|fd)/, 'is a removable drive'],
  [/^(loop|memdisk|proc|tftp|http|pxe)/, 'is no partition of this disk'],
];

export class GrubDisk {
  readonly volumes: readonly Volume[];
  readonly #budget: Budget;
  readonly #note: (text: string) => void;
  readonly #stats = new Map<string, FileStat | undefined>();
  readonly #images = new Map<string, Uki | undefined>();
  readonly #lists = new Map<string, readonly DirectoryEntry[] | undefined>();
  #names = 0;

  constructor(volumes: readonly Volume[], budget: Budget, note: (text: string) => void) {
    this.volumes = volumes;
    this.#budget = budget;
    this.#note = note;
  }

  /** `hd0,gpt1`, `hd0,msdos5`; `hd0` for a file system on the whole disk. */
  nameOf(volume: Volume): string {
    return volume.partition === 0 ? 'hd0' : `hd0,${tableNames[volume.scheme]}${volume.partition}`;
  }

  /**
   * The volume with this name (without parentheses); the kind of table may be left out, as in `hd0,1`. A CD image is also
   * the drive that GRUB calls `cd` after a BIOS and `cd0` after UEFI.
   */
  volume(name: string): Volume | undefined {
    if (name === 'cd' || name === 'cd0') {
      return this.volumes.find(({ partition, fs }) => partition === 0 && fs.type === 'iso9660');
    }
    return this.volumes.find(
      (volume) => name === this.nameOf(volume) || (volume.partition > 0 && name === `hd0,${volume.partition}`),
    );
  }

  /** What `file` names, or why it names nothing. `root` is the device of a path without one. */
  locate(file: string, root: string | undefined): Located | string {
    let device = root ?? '';
    let path = file;
    if (file.startsWith('(')) {
      const end = file.indexOf(')');
      if (end < 0) return `${file} lacks a ')'`;
      device = file.slice(1, end) || device;
      path = file.slice(end + 1);
    }
    const volume = this.volume(device);
    if (volume === undefined) {
      const reason =
        elsewhere.find(([pattern]) => pattern.test(device))?.[1] ?? 'is no file system of this disk that can be read';
      return `${path}: the device (${device}) ${reason}`;
    }
    if (!path.startsWith('/')) return `${file} is no absolute path`;
    if (Buffer.byteLength(path) > maxPath) return `a path is longer than ${maxPath} bytes`;
    return { volume, path };
  }

  stat({ volume, path }: Located): Promise<FileStat | undefined> {
    this.#budget.charge();
    return this.#remember(this.#stats, volume, path, (name) => volume.fs.stat(name));
  }

  /** Undefined if it is no directory. */
  async list(at: Located): Promise<readonly DirectoryEntry[] | undefined> {
    if ((await this.stat(at))?.kind !== 'directory') return undefined;
    const entries = await this.#remember(
      this.#lists,
      at.volume,
      at.path,
      (name) => at.volume.fs.list(name),
      this.#keeps,
    );
    this.#budget.charge((entries?.length ?? 0) * charactersPerEntry);
    return entries;
  }

  /** The profiles of a unified kernel image; undefined for any other file. */
  uki({ volume, path }: Located): Promise<Uki | undefined> {
    this.#budget.charge();
    return this.#remember(this.#images, volume, path, (name) => openUki(volume, name));
  }

  /** A whole text file; undefined if it is not there or cannot be read. */
  async readText(at: Located, limit: number): Promise<string | undefined> {
    if ((await this.stat(at))?.kind !== 'file') return undefined;
    this.#budget.fileOperation();
    // Configurations with carriage returns work in GRUB, which drops them. A NUL would end the line there.
    const read = (): Promise<string> =>
      at.volume.fs.readFile(at.path, limit).then((content) => content.toString('utf8').replace(/\r|\0[^\n]*/g, ''));
    const text = await this.#readable(at.volume, read);
    this.#budget.charge(text?.length);
    return text;
  }

  async #remember<T>(
    known: Map<string, T | undefined>,
    volume: Volume,
    path: string,
    ask: (path: string) => Promise<T | undefined>,
    keeps: (answer: T | undefined) => boolean = () => true,
  ): Promise<T | undefined> {
    const key = `${volume.partition}:${normalPath(path)}`;
    if (known.has(key)) return known.get(key);
    this.#budget.fileOperation();
    const answer = await this.#readable(volume, () => ask(path));
    if (known.size < grubLimits.fileOperations && keeps(answer)) known.set(key, answer);
    return answer;
  }

  /** Whether there is room for the names of one more directory. */
  readonly #keeps = (entries: readonly DirectoryEntry[] | undefined): boolean => {
    this.#names += entries?.length ?? 0;
    return this.#names <= maxNames;
  };

  async #readable<T>(volume: Volume, read: () => Promise<T>): Promise<T | undefined> {
    try {
      return await read();
    } catch (error) {
      if (!(error instanceof TsvmmError)) throw error;
      this.#note(`${volumeName(volume.partition)}: ${withHint(error)}`);
      return undefined;
    }
  }
}

export const referenceTo = ({ volume, path }: Located): FileReference => ({ partition: volume.partition, path });
