/** A file system in memory, for tests of what reads one: paths to contents, `{ link }` for a symbolic link. */
import { posix } from 'node:path';
import { DiskBudget } from '../../../../src/boot/disk-budget.js';
import type { Volume } from '../../../../src/boot/entries/volume.js';
import type { DirectoryEntry, FileStat, FileSystem, FileSystemType } from '../../../../src/boot/fs/file-system.js';
import { TsvmmError } from '../../../../src/errors.js';

export type Content = string | Buffer | { readonly link: string };

export interface MemoryFileSystemOptions {
  readonly type?: FileSystemType;
  readonly label?: string;
  readonly uuid?: string;
}

export class MemoryFileSystem implements FileSystem {
  readonly type: FileSystemType;
  readonly label: string;
  readonly uuid: string;
  readonly notes: readonly string[] = [];
  /** Look-ups made, for tests of budgets. */
  operations = 0;
  readonly #files = new Map<string, Content>();
  readonly #directories = new Set(['/']);

  constructor(files: Readonly<Record<string, Content>>, options: MemoryFileSystemOptions = {}) {
    this.type = options.type ?? 'ext4';
    this.label = options.label ?? '';
    this.uuid = options.uuid ?? '';
    for (const [path, content] of Object.entries(files)) {
      this.#files.set(path, content);
      for (let at = posix.dirname(path); !this.#directories.has(at); at = posix.dirname(at)) this.#directories.add(at);
    }
  }

  /** The path behind symbolic links; undefined if it leads nowhere. */
  #resolve(path: string, links = 0): string | undefined {
    if (links > 40) return undefined;
    let at = '/';
    const steps = path.split('/').filter((step) => step !== '' && step !== '.');
    for (const [index, step] of steps.entries()) {
      const next = posix.join(at, step);
      const content = this.#files.get(next);
      if (content !== undefined && typeof content !== 'string' && 'link' in content) {
        return this.#resolve(posix.join('/', posix.resolve(at, content.link), ...steps.slice(index + 1)), links + 1);
      }
      if (content === undefined && !this.#directories.has(next)) return undefined;
      if (content !== undefined && index < steps.length - 1) return undefined;
      at = next;
    }
    return at;
  }

  #content(path: string): Buffer | undefined {
    const resolved = this.#resolve(path);
    const content = resolved === undefined ? undefined : this.#files.get(resolved);
    if (content === undefined || (typeof content !== 'string' && 'link' in content)) return undefined;
    return Buffer.from(content);
  }

  async stat(path: string): Promise<FileStat | undefined> {
    this.operations++;
    const resolved = this.#resolve(path);
    if (resolved === undefined) return undefined;
    if (this.#directories.has(resolved)) return { kind: 'directory', size: 4096 };
    return { kind: 'file', size: this.#content(resolved)?.length ?? 0 };
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    this.operations++;
    const resolved = this.#resolve(path);
    if (resolved === undefined || !this.#directories.has(resolved)) {
      throw new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `${path} is not a directory`);
    }
    const inside = (name: string): boolean => name !== '/' && posix.dirname(name) === resolved;
    return [
      ...[...this.#directories]
        .filter(inside)
        .map((name) => ({ name: posix.basename(name), kind: 'directory' as const })),
      ...[...this.#files]
        .filter(([name]) => inside(name))
        .map(([name, content]) => ({
          name: posix.basename(name),
          kind: typeof content !== 'string' && 'link' in content ? ('symlink' as const) : ('file' as const),
        })),
    ];
  }

  async readFile(path: string, limit: number): Promise<Buffer> {
    this.operations++;
    const content = this.#content(path);
    if (content === undefined) throw new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `${path} is no regular file`);
    if (content.length > limit) throw new TsvmmError('ERR_TSVMM_DISK_FORMAT', `${path} has more than ${limit} bytes`);
    return content;
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer> {
    const content = await this.readFile(path, Number.MAX_SAFE_INTEGER);
    if (offset + length > content.length) {
      throw new TsvmmError('ERR_TSVMM_DISK_FORMAT', `${path} has only ${content.length} bytes`);
    }
    return content.subarray(offset, offset + length);
  }

  async readInto(path: string, offset: number, into: Uint8Array): Promise<void> {
    into.set(await this.readRange(path, offset, into.length));
  }
}

/** A GPT partition (an MBR one or the whole disk if `volume` says so) with these files. */
export function memoryVolume(
  partition: number,
  files: Readonly<Record<string, Content>>,
  options: MemoryFileSystemOptions & Partial<Omit<Volume, 'fs' | 'partition'>> = {},
): Volume {
  return {
    partition,
    scheme: options.scheme ?? 'gpt',
    partitionType: options.partitionType ?? '',
    partitionUuid: options.partitionUuid ?? '',
    fs: new MemoryFileSystem(files, options),
    budget: new DiskBudget(),
  };
}
