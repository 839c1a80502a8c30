/** What a disk is made of, open: an image, or what functions of the program supply. Main thread. */
import type { BlockReader } from '../disk/block-reader.js';
import type { Freezing } from '../disk/disk-file.js';
import type { OpenDisk } from '../disk/disk-map.js';
import type { DiskLayout } from './disk-layout.js';

export interface Medium {
  /** For messages. */
  readonly name: string;
  /** For the I/O worker. What it names belongs to this object. */
  readonly open: OpenDisk;
  /** Of the content, and what direct I/O asks for: the guest's blocks. */
  readonly layout: DiskLayout;
  /** Bytes that the host likes to transfer at a time. */
  readonly ioSize: number;
  /** For the boot; closed by the caller. `signal` ends waiting for a read. */
  reader(signal: AbortSignal): Promise<BlockReader & AsyncDisposable>;
  /** Makes it larger; `open` is another one then. No I/O worker uses it meanwhile. */
  grow(size: number): Promise<void>;
  /** How it is frozen; undefined for what cannot be. */
  readonly freezing?: Freezing;
  /** Every request fails from now on. Undefined where the I/O worker has to be told instead. */
  fail?(why: string): Promise<void>;
  /** No I/O worker uses it any more. */
  close(): Promise<void>;
}
