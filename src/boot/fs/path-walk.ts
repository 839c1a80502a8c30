/**
 * The part of a file system that is the same for all: walking paths with symbolic links, and the `FileSystem` interface
 * over what a concrete reader offers. Main thread.
 *
 * `..` goes back along the walked path, not through the `..` entry on the disk, so that neither a forged `..` nor a
 * directory that contains itself can lead anywhere else; and nothing leaves the file system's root.
 */
import { constants } from 'node:buffer';
import { quote } from '../../disk/range.js';
import { TsvmmError } from '../../errors.js';
import { ScanBudget } from './damage.js';
import {
  type DirectoryEntry,
  type FileStat,
  type FileSystem,
  type FileSystemType,
  maxPath,
  maxSymlinks,
} from './file-system.js';

/** What a concrete reader offers. `Node` is whatever it needs to remember of a file: an inode, a directory entry. */
export interface Tree<Node> {
  root(): Promise<Node>;
  stat(node: Node): FileStat;
  /** The entry `name` of a directory. */
  find(directory: Node, name: string, budget: ScanBudget): Promise<Node | undefined>;
  list(directory: Node, budget: ScanBudget): Promise<DirectoryEntry[]>;
  /** What a symbolic link says. */
  target(link: Node): Promise<string>;
  /** Bytes of a regular file from `offset`, which with all of `into` lies inside it. `into` is zeros: holes need no work. */
  read(file: Node, offset: number, into: Uint8Array): Promise<void>;
}

export interface Identity {
  readonly type: FileSystemType;
  readonly label: string;
  readonly uuid: string;
  readonly notes: readonly string[];
}

type Walked<Node> = { readonly node: Node } | { readonly missing: string };

const pathBytes = (path: string) => Buffer.byteLength(path, 'utf8');

/** Where `path` leads. Damage rejects; a path that leads nowhere is a value with the reason. */
async function walk<Node>(tree: Tree<Node>, path: string): Promise<Walked<Node>> {
  const budget = new ScanBudget();
  if (pathBytes(path) > maxPath) return { missing: `the path is longer than ${maxPath} bytes` };
  const trail: Node[] = [];
  let node: Node = await tree.root();
  let links = 0;
  let rest = path.split('/');
  while (rest.length > 0) {
    if (tree.stat(node).kind !== 'directory') return { missing: 'a part of the path is not a directory' };
    const name = rest.shift()!;
    if (name === '' || name === '.') continue;
    if (name === '..') {
      node = trail.pop() ?? node;
      continue;
    }
    const child = await tree.find(node, name, budget);
    if (child === undefined) return { missing: `there is no ${quote(name)}` };
    if (tree.stat(child).kind !== 'symlink') {
      trail.push(node);
      node = child;
      continue;
    }
    if (++links > maxSymlinks) return { missing: `more than ${maxSymlinks} symbolic links follow each other` };
    const target = await tree.target(child);
    if (target === '') return { missing: `the symbolic link ${quote(name)} is empty` };
    // A bound on what is left to walk, so that links to long paths of links stay cheap.
    if (pathBytes(rest.join('/')) + pathBytes(target) > 2 * maxPath)
      return { missing: 'symbolic links make the path too long' };
    if (target.startsWith('/')) node = trail.splice(0)[0] ?? node;
    rest = [...target.split('/'), ...rest];
  }
  return { node };
}

/** The `FileSystem` interface over a `Tree`. */
export class TreeFileSystem<Node> implements FileSystem {
  readonly type: FileSystemType;
  readonly label: string;
  readonly uuid: string;
  readonly notes: readonly string[];
  readonly #tree: Tree<Node>;

  constructor(identity: Identity, tree: Tree<Node>) {
    this.type = identity.type;
    this.label = identity.label;
    this.uuid = identity.uuid;
    this.notes = identity.notes;
    this.#tree = tree;
  }

  async stat(path: string): Promise<FileStat | undefined> {
    const walked = await walk(this.#tree, path);
    return 'node' in walked ? this.#tree.stat(walked.node) : undefined;
  }

  async list(path: string): Promise<DirectoryEntry[]> {
    const node = await this.#reach(path);
    if (this.#tree.stat(node).kind !== 'directory') throw notThere(path, 'is not a directory');
    return this.#tree.list(node, new ScanBudget());
  }

  async readFile(path: string, limit: number): Promise<Buffer> {
    const { node, size } = await this.#file(path);
    const most = Math.min(limit, constants.MAX_LENGTH);
    if (size > most) {
      throw new TsvmmError(
        'ERR_TSVMM_DISK_FORMAT',
        `${quote(path)} has ${size} bytes, more than the ${most} that are accepted`,
        { hint: 'The file is not what its name says, or the file system is damaged.', details: { path, size, limit } },
      );
    }
    return this.#read(node, 0, size);
  }

  async readRange(path: string, offset: number, length: number): Promise<Buffer> {
    return this.#read(await this.#part(path, offset, length), offset, length);
  }

  async readInto(path: string, offset: number, into: Uint8Array): Promise<void> {
    await this.#tree.read(await this.#part(path, offset, into.length), offset, into);
  }

  /** A regular file that has `length` bytes from `offset`. */
  async #part(path: string, offset: number, length: number): Promise<Node> {
    const { node, size } = await this.#file(path);
    if (offset <= size && length <= Math.min(size - offset, constants.MAX_LENGTH)) return node;
    throw new TsvmmError(
      'ERR_TSVMM_DISK_FORMAT',
      `${quote(path)} has ${size} bytes, not the ${length} that are expected from byte ${offset} on`,
      {
        hint: 'The file system is damaged, or the image is changed while it is read.',
        details: { path, size, offset, length },
      },
    );
  }

  async #read(node: Node, offset: number, length: number): Promise<Buffer> {
    const content = Buffer.alloc(length);
    await this.#tree.read(node, offset, content);
    return content;
  }

  async #file(path: string): Promise<{ node: Node; size: number }> {
    const node = await this.#reach(path);
    const { kind, size } = this.#tree.stat(node);
    if (kind !== 'file') throw notThere(path, `is not a regular file${kind === 'directory' ? ' but a directory' : ''}`);
    return { node, size };
  }

  async #reach(path: string): Promise<Node> {
    const walked = await walk(this.#tree, path);
    if ('missing' in walked) throw notThere(path, `is not in the ${this.type} file system: ${walked.missing}`);
    return walked.node;
  }
}

function notThere(path: string, says: string): TsvmmError {
  return new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `${quote(path)} ${says}`, { details: { path } });
}
