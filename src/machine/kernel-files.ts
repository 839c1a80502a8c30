/**
 * Kernel and initrd that the user gives as files of the host: a bzImage, an ELF kernel, or a unified kernel image, of which
 * only the sections that are booted are read. Main thread.
 */
import { constants } from 'node:fs';
import { type FileHandle, open } from 'node:fs/promises';
import { joinInitrds } from '../boot/linux/initrds.js';
import type { PeSource } from '../boot/pe/pe.js';
import { quote } from '../disk/range.js';
import { TsvmmError } from '../errors.js';
import { formatSize } from './units.js';

const maxKernel = 256 * 1024 ** 2;
const maxInitrd = 1024 ** 3;

export interface KernelFiles {
  readonly kernel: string;
  readonly initrd: string | undefined;
  /** Undefined: a unified kernel image's own, with the console. */
  readonly cmdline: string | undefined;
}

export interface Payload {
  readonly kernel: Uint8Array;
  readonly initrd?: Uint8Array | undefined;
  readonly cmdline: string;
}

/** `console` is the Linux name of the console that an image's own command line is given. */
export async function readKernelFiles(files: KernelFiles, console: 'ttyS0' | 'hvc0'): Promise<Payload> {
  const initrd = files.initrd === undefined ? [] : [await readWhole('initrd', files.initrd, maxInitrd)];
  return withFile('kernel', files.kernel, async (file) => {
    const uki = (await isEfiProgram(file)) ? await readImage(file) : undefined;
    if (uki === undefined) {
      return { kernel: await file.all(maxKernel), initrd: joinInitrds(initrd), cmdline: files.cmdline ?? '' };
    }
    // As systemd-stub, which puts what its own loader was given behind what the image has.
    const { guestCmdline } = await import('../boot/cmdline.js');
    const cmdline = files.cmdline ?? guestCmdline(uki.cmdline, { console });
    return { kernel: uki.kernel, initrd: joinInitrds([...uki.initrds, ...initrd]), cmdline };
  });
}

/** Linux boot protocol §1.2: a bzImage is an EFI program too, but has this. */
const hdrsAt = 0x202;
const hdrs = 'HdrS';

async function isEfiProgram(file: HostFile): Promise<boolean> {
  const end = hdrsAt + hdrs.length;
  if (file.size < end) return false;
  const head = await file.read(0, end);
  return head.toString('latin1', 0, 2) === 'MZ' && head.toString('latin1', hdrsAt, end) !== hdrs;
}

async function readImage(file: HostFile): Promise<{ kernel: Buffer; initrds: Buffer[]; cmdline: string } | undefined> {
  // Who boots a bzImage does not load this.
  const { readUki } = await import('../boot/pe/uki.js');
  const [profile] = (await readUki(file)) ?? [];
  if (profile === undefined) return undefined;
  const kernel = await file.part(profile.linux.offset, profile.linux.size, maxKernel);
  const initrds: Buffer[] = [];
  for (const { offset, size } of profile.initrds) initrds.push(await file.part(offset, size, maxInitrd));
  return { kernel, initrds, cmdline: profile.cmdline ?? '' };
}

class HostFile implements PeSource {
  readonly size: number;
  readonly #handle: FileHandle;
  readonly #fail: (message: string) => TsvmmError;

  constructor(handle: FileHandle, size: number, fail: (message: string) => TsvmmError) {
    this.#handle = handle;
    this.size = size;
    this.#fail = fail;
  }

  async read(offset: number, length: number): Promise<Buffer> {
    const into = Buffer.allocUnsafe(length);
    for (let done = 0; done < length; ) {
      const { bytesRead } = await this.#handle.read(into, done, length - done, offset + done);
      if (bytesRead === 0) throw this.#fail('it became shorter while it was read');
      done += bytesRead;
    }
    return into;
  }

  part(offset: number, length: number, limit: number): Promise<Buffer> {
    if (length > limit) throw this.#fail(`${formatSize(length)} is more than the ${formatSize(limit)} that are read`);
    return this.read(offset, length);
  }

  all(limit: number): Promise<Buffer> {
    return this.part(0, this.size, limit);
  }
}

const readWhole = (what: string, path: string, limit: number): Promise<Buffer> =>
  withFile(what, path, (file) => file.all(limit));

/** What the host's answer to a path means to the user. */
const refusals: Readonly<Record<string, readonly [says: string, hint: string]>> = {
  ENOENT: ['does not exist', 'check the path'],
  ENOTDIR: ['does not exist (a part of its path is no directory)', 'check the path'],
  ELOOP: ['is a loop of symbolic links', 'pass the path of the file itself'],
  EACCES: ['may not be read', 'give your user permission to read the file and the folders above it'],
  EPERM: ['may not be read', 'give your user permission to read the file'],
};

/** Errors of the system and of `use` name the file. */
async function withFile<T>(what: string, path: string, use: (file: HostFile) => Promise<T>): Promise<T> {
  const error = (message: string, hint: string, cause?: unknown): TsvmmError =>
    new TsvmmError('ERR_TSVMM_BOOT_KERNEL', `${what} ${quote(path)}${message}`, { cause, hint, details: { path } });
  const fail = (message: string, cause?: unknown): TsvmmError =>
    error(`: ${message}`, `pass a regular file that you may read as ${what}`, cause);
  let handle: FileHandle | undefined;
  try {
    // A FIFO would make the process wait for its writer.
    handle = await open(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const info = await handle.stat();
    if (!info.isFile()) throw fail('it is not a regular file');
    if (info.size === 0) throw fail('the file is empty');
    return await use(new HostFile(handle, info.size, fail));
  } catch (thrown) {
    if (thrown instanceof TsvmmError) throw thrown;
    const { code, message } = thrown as NodeJS.ErrnoException;
    const refusal = refusals[code ?? ''];
    throw refusal === undefined ? fail(message, thrown) : error(` ${refusal[0]}`, refusal[1], thrown);
  } finally {
    await handle?.close();
  }
}
