/**
 * XFS images for the tests, made by mkfs.xfs from a folder, without a mount.
 */
import { lstatSync, mkdirSync, readdirSync, readlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { run } from '../images.js';

/** Under 300 MB mkfs.xfs wants to be told that the file system is for a test. */
const small = ['--unsupported', '-q', '-f'];

export class XfsImages {
  readonly folder: string;
  #made = 0;

  constructor(folder: string) {
    this.folder = folder;
  }

  path(suffix: string): string {
    return join(this.folder, `${++this.#made}${suffix}`);
  }

  /** A new image of `size`, with all of the folder `root` in it. */
  make(size: string, args: readonly string[], root?: string): string {
    const image = this.path('.img');
    run('truncate', ['-s', size, image]);
    const prototype = root === undefined ? [] : ['-p', this.#prototype(root)];
    run('mkfs.xfs', [...small, ...prototype, ...args, image]);
    return image;
  }

  /** mkfs.xfs(8), `-p`: mode words and sources instead of files. Names with white space cannot be said in it. */
  #prototype(root: string): string {
    const lines = ['/dev/null', '0 0', 'd--755 0 0'];
    const walk = (folder: string): void => {
      for (const name of readdirSync(folder)) {
        const at = join(folder, name);
        const stat = lstatSync(at);
        if (stat.isDirectory()) {
          lines.push(`${name} d--755 0 0`);
          walk(at);
          lines.push('$');
        } else if (stat.isSymbolicLink()) lines.push(`${name} l--777 0 0 ${readlinkSync(at)}`);
        else lines.push(`${name} ---644 0 0 ${at}`);
      }
    };
    walk(root);
    lines.push('$', '');
    const path = this.path('.proto');
    writeFileSync(path, lines.join('\n'));
    return path;
  }

  mountPoint(): string {
    const at = this.path('.mnt');
    mkdirSync(at);
    return at;
  }
}

/** A number or a word of a structure, as xfs_db(8) prints it. */
export function ask(image: string, ...commands: string[]): string {
  return run('xfs_db', ['-r', ...commands.flatMap((command) => ['-c', command]), image]).trim();
}
