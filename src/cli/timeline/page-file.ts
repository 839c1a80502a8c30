/** The file of `--timeline`: what it may replace, and that it can be written, is known before the guest starts. Main thread. */
import {
  chmodSync,
  closeSync,
  lstatSync,
  openSync,
  readSync,
  renameSync,
  rmSync,
  type Stats,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname, join } from 'node:path';
import { TsvmmError } from '../../errors.js';
import { timelineMark } from './page.js';

export class PageFile {
  readonly path: string;
  /** In the same folder, so that it takes the page's place in one step; its name is short whatever the page's is. */
  readonly #beside: string;

  /** Throws `ERR_TSVMM_CONFIG` if the page could not be written, or would replace something else. */
  constructor(path: string) {
    this.path = path;
    this.#beside = join(dirname(path), `.tsvmm-${process.pid}.tmp`);
    try {
      refuseOther(path, found(path));
      closeSync(openSync(this.#beside, 'wx'));
      unlinkSync(this.#beside);
    } catch (error) {
      if (error instanceof TsvmmError) throw error;
      throw bad(
        `${path} cannot be written: ${(error as Error).message}`,
        'name a file in a folder that you may write to',
      );
    }
  }

  /** A page that is replaced keeps who may read it. Throws what the system says. */
  write(page: string): void {
    try {
      const before = found(this.path);
      writeFileSync(this.#beside, page, { flag: 'wx' });
      if (before !== undefined) chmodSync(this.#beside, before.mode & 0o777);
      renameSync(this.#beside, this.path);
    } catch (error) {
      try {
        rmSync(this.#beside, { force: true });
      } catch {
        // the folder is no longer one that can be written to: the first error says why
      }
      throw error;
    }
  }
}

const bad = (message: string, hint: string): TsvmmError =>
  new TsvmmError('ERR_TSVMM_CONFIG', `--timeline: ${message}`, { hint });

const found = (path: string): Stats | undefined => lstatSync(path, { throwIfNoEntry: false });

/** A page of ours and an empty file are replaced. */
function refuseOther(path: string, file: Stats | undefined): void {
  if (path === '') throw bad('it needs the name of a file', 'write --timeline boot.html');
  if (file === undefined) return;
  if (!file.isFile() || (file.size > 0 && !beginsWithMark(path)))
    throw bad(`${path} exists and is not a timeline`, 'name another file, or remove it');
}

function beginsWithMark(path: string): boolean {
  const fd = openSync(path, 'r');
  try {
    const begin = Buffer.alloc(timelineMark.length);
    readSync(fd, begin);
    return begin.toString('latin1') === timelineMark;
  } finally {
    closeSync(fd);
  }
}
