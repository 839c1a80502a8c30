/**
 * A file system of the disk as the loaders see it: each call is paid for from the disk's budget, and where paths lead is
 * remembered, since several loaders and all entries of a configuration ask the same. Main thread.
 */
import type { DiskBudget } from '../disk-budget.js';
import {
  type DirectoryEntry,
  type FileStat,
  type FileSystem,
  type FileSystemType,
  normalPath,
} from '../fs/file-system.js';

/** Characters of paths that are remembered. */
const maxRemembered = 1 << 20;

export class BudgetedFileSystem implements FileSystem {
  readonly type: FileSystemType;
  readonly label: string;
  readonly uuid: string;
  readonly notes: readonly string[];
  readonly #files: FileSystem;
  readonly #budget: DiskBudget;
  readonly #stats = new Map<string, FileStat | undefined>();
  #remembered = 0;

  constructor(files: FileSystem, budget: DiskBudget) {
    this.type = files.type;
    this.label = files.label;
    this.uuid = files.uuid;
    this.notes = files.notes;
    this.#files = files;
    this.#budget = budget;
  }

  async stat(path: string): Promise<FileStat | undefined> {
    const turn = this.#budget.turn();
    if (turn !== undefined) await turn;
    const key = normalPath(path);
    if (this.#stats.has(key)) return this.#stats.get(key);
    this.#budget.spend('lookups');
    const found = await this.#files.stat(path);
    this.#remembered += key.length;
    if (this.#remembered <= maxRemembered) this.#stats.set(key, found);
    return found;
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    const turn = this.#lookUp();
    if (turn !== undefined) await turn;
    return this.#files.list(path);
  }

  async readFile(path: string, limit: number): Promise<Buffer> {
    await this.#lookUp();
    const content = await this.#files.readFile(path, limit);
    this.#budget.spend('text', content.length);
    return content;
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer> {
    await this.#lookUp();
    this.#budget.spend('text', length);
    return this.#files.readRange(path, offset, length);
  }

  async readInto(path: string, offset: number, into: Uint8Array): Promise<void> {
    await this.#lookUp();
    await this.#files.readInto(path, offset, into);
  }

  #lookUp(): Promise<void> | undefined {
    this.#budget.spend('lookups');
    return this.#budget.turn();
  }
}
