/**
 * An immutable file of guest pages, shared by every machine that shows it (contract §4.1). Main thread.
 *
 * Nobody writes to it, truncates it or replaces its bytes any more, from the moment at which it is a layer: what machines
 * write over it is private to each. It is closed when the last who holds it lets go.
 */
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { FallocateMode } from '../host/engine-slots.js';
import { errnoName } from '../host/errno.js';
import { closeFd, Sys, syscall } from '../host/system.js';

const MFD_CLOEXEC = 1;
const MFD_ALLOW_SEALING = 2;
const F_ADD_SEALS = 1033;
const F_SEAL_SEAL = 1;
const F_SEAL_SHRINK = 2;
const F_SEAL_GROW = 4;
const F_SEAL_WRITE = 8;

/** A file of guest pages, whoever holds it. */
export interface PageFile {
  readonly fd: number;
}

export class Layer implements PageFile {
  readonly fd: number;
  readonly #close: (fd: number) => void;
  #holders = 1;

  /** Held once, by whoever makes it. */
  constructor(fd: number, close: (fd: number) => void = closeFd) {
    this.fd = fd;
    this.#close = close;
  }

  hold(): this {
    if (this.#holders === 0) throw new Error('a layer that was closed is held');
    this.#holders++;
    return this;
  }

  release(): void {
    this.#holders--;
    if (this.#holders === 0) this.#close(this.fd);
  }
}

/** A layer in the making: a file in memory whose holes read as zeroes. */
export class LayerFile {
  readonly fd: number;

  constructor(size: number) {
    this.fd = native().openFd(Sys.memfdCreate, Buffer.from('tsvmm-layer\0'), MFD_CLOEXEC | MFD_ALLOW_SEALING);
    const result = this.fd < 0 ? this.fd : syscall(Sys.ftruncate, this.fd, size);
    if (result >= 0) return;
    this.discard();
    throw noRoom(result);
  }

  write(source: Uint8Array, offset: number): void {
    writeLayer(this.fd, source, offset);
  }

  /** Nobody can change it from here on; a mapping that still could is a bug of ours, and an error. */
  seal(): Layer {
    const result = syscall(Sys.fcntl, this.fd, F_ADD_SEALS, F_SEAL_SEAL | F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE);
    if (result < 0) throw new Error(`a layer of guest memory cannot be sealed: ${errnoName(result)}`);
    return new Layer(this.fd);
  }

  discard(): void {
    if (this.fd >= 0) closeFd(this.fd);
  }
}

export function writeLayer(fd: number, source: Uint8Array, offset: number): void {
  for (let done = 0; done < source.length; ) {
    const result = syscall(Sys.pwrite64, fd, source.subarray(done), source.length - done, offset + done);
    if (result <= 0) throw noRoom(result);
    done += result;
  }
}

/** What was written there reads as zeroes again. */
export function clearLayer(fd: number, offset: number, length: number): void {
  const result = syscall(Sys.fallocate, fd, FallocateMode.punchHole, offset, length);
  if (result < 0) throw noRoom(result);
}

const noRoom = (result: number): TsvmmError =>
  new TsvmmError('ERR_TSVMM_STATE', `the host has no room for the frozen memory of a machine: ${errnoName(result)}`, {
    hint: 'what a machine has written is copied once when it is forked or snapshotted: free memory on the host, or raise the memory limit of this program',
  });
