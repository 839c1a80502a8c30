/**
 * Where the bytes of an open disk lie. The I/O worker.
 *
 * A device asks for a range and is told a descriptor and how much of the range one operation on it may cover; it goes on
 * with the rest afterwards. Offsets in every file are those of the disk.
 */
import { DIRECT } from '../host/engine-slots.js';
import type { DirectIo } from './direct-io.js';
import type { OpenLayer } from './frozen-layers.js';
import { FrozenMap } from './frozen-map.js';
import type { OpenHistory } from './history.js';
import { OverlayMap } from './overlay-map.js';
import type { OpenUserDisk } from './user-channel.js';

/** A disk as main opened it; plain data, posted to the I/O worker. Main closes the descriptors. */
export type OpenDisk = OpenFileDisk | OpenUserDisk;

/** One of files. */
export type OpenFileDisk =
  | {
      readonly kind: 'file';
      readonly fd: number;
      readonly size: number;
      readonly readOnly: boolean;
      /** It is open for direct I/O. */
      readonly direct?: DirectIo | undefined;
      /** What the guest wants durable is not made so. */
      readonly unsafe?: boolean | undefined;
      /** See `DiskMap.writesBriefly`. */
      readonly writesBriefly?: boolean;
      /** In each of them old blocks of the file are kept. */
      readonly histories?: readonly OpenHistory[] | undefined;
    }
  | {
      readonly kind: 'overlay';
      /** What lies below: not written by this disk. */
      readonly layers: readonly OpenLayer[];
      /** Private to this disk, sparse, gone when it is closed. */
      readonly overlay: number;
      /** Which sectors are there (overlay-map.ts). Kept while machines come and go: a reboot loses nothing. */
      readonly written: SharedArrayBuffer;
      readonly size: number;
      readonly readOnly: false;
      /** What is below is open for direct I/O; the overlay never is. */
      readonly direct?: DirectIo | undefined;
      /** Most bytes that it may take, in blocks of 4096; undefined leaves it to the file system. */
      readonly limit?: number | undefined;
      /** A block of 4096 bytes that becomes a hole takes no room any more, and may be given out again. */
      readonly givesBack?: boolean;
      readonly writesBriefly?: boolean;
      readonly histories?: readonly OpenHistory[] | undefined;
    }
  /** The content of a disk at an instant. */
  | {
      readonly kind: 'frozen';
      readonly layers: readonly OpenLayer[];
      readonly size: number;
      readonly readOnly: true;
      readonly direct?: DirectIo | undefined;
    };

export type OpenImageDisk = Extract<OpenFileDisk, { kind: 'file' }>;
export type OpenOverlay = Extract<OpenFileDisk, { kind: 'overlay' }>;
export type OpenFrozen = Extract<OpenFileDisk, { kind: 'frozen' }>;

/** Offsets are doubles, and one of them as an argument may be an allocation: requests say theirs by an array. */
export interface DiskMap {
  /** The file chosen by the last `locate...`, and the engine's flags for reading and writing it. */
  readonly fd: number;
  readonly flags: number;
  /** How many of the `length` bytes of a request are in `fd` in a row, at least one sector; 0 when they are lost. */
  locateRead(request: number, length: number): number;
  /** Whether what a request has read there is the disk's content. If not it is read again. */
  holds(request: number, length: number): boolean;
  /** Why the last `locateRead` found nothing: an errno. */
  readonly loss: number;
  /** The same for writing, which a request is about to do; 0 when there is no room. */
  locateWrite(request: number, length: number): number;
  /** The same for a hole, which needs no room and reads as zeroes; chooses the file that is written. */
  locateHole(request: number, length: number): number;
  /** What a request began on the file that was chosen for it has ended, with -errno if not well. */
  ended(request: number, result: number): void;
  /** That many bytes of a request were written, from its offset on. */
  wrote(request: number, length: number): void;
  /** It is not used any more; the files stay open. */
  close(): void;
  /** What a flush has to sync, or -1: nothing outlives the machine, or nobody cares. */
  readonly syncFd: number;
  /** Writes end in the page cache, by a file system that cannot say whether they would block (host/brief-writes.ts). */
  readonly writesBriefly: boolean;
}

/** `offsets` says where on the disk each request goes on, by its number. */
export function openDiskMap(disk: OpenFileDisk, offsets: Float64Array): DiskMap {
  if (disk.kind === 'overlay') return new OverlayMap(disk, offsets);
  if (disk.kind === 'frozen') return new FrozenMap(disk, offsets);
  const flags = disk.direct === undefined ? 0 : DIRECT;
  return new FileMap(disk.fd, flags, disk.unsafe !== true, disk.writesBriefly ?? false);
}

class FileMap implements DiskMap {
  readonly fd: number;
  readonly flags: number;
  readonly loss = 0;
  readonly syncFd: number;
  readonly writesBriefly: boolean;

  constructor(fd: number, flags: number, syncs: boolean, writesBriefly: boolean) {
    this.fd = fd;
    this.flags = flags;
    this.syncFd = syncs ? fd : -1;
    this.writesBriefly = writesBriefly;
  }

  locateRead(_request: number, length: number): number {
    return length;
  }

  locateWrite(_request: number, length: number): number {
    return length;
  }

  locateHole(_request: number, length: number): number {
    return length;
  }

  holds(): boolean {
    return true;
  }

  ended(): void {}

  close(): void {}

  wrote(): void {}
}
