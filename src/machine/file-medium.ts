/** An image, opened for a machine: probed, locked, and its blocks known; or what a disk was when it was frozen. Main thread. */
import { constants } from 'node:fs';
import { access } from 'node:fs/promises';
import type { BlockReader } from '../disk/block-reader.js';
import { type CacheMode, type DiskFile, type Freezing, openDiskFile } from '../disk/disk-file.js';
import type { OpenFileDisk } from '../disk/disk-map.js';
import type { FrozenContent } from '../disk/frozen-content.js';
import { openFrozen } from '../disk/frozen-file.js';
import { openRawImage } from '../disk/raw-image.js';
import { blockSizeFor, type DiskLayout, layoutOf } from './disk-layout.js';
import type { Medium } from './medium.js';

/** `DiskOptions` as far as they say what is opened and how; checked. */
export interface FileMediumConfig {
  readonly path: string;
  readonly explicitRaw: boolean;
  readonly readOnly: boolean;
  readonly ephemeral: boolean | { readonly limit: number };
  readonly cache: CacheMode;
}

type Reading = () => Promise<BlockReader & AsyncDisposable>;

export class FileMedium implements Medium {
  readonly layout: DiskLayout;
  readonly #file: DiskFile;
  readonly #read: Reading;

  /** An image of another format is refused by its name before anything is locked. */
  static async open({ path, explicitRaw, readOnly, ephemeral, cache }: FileMediumConfig): Promise<FileMedium> {
    await using image = await openRawImage(path, explicitRaw ? { format: 'raw' } : {});
    const layout = await layoutOf(image);
    const isReadOnly = readOnly || (ephemeral === false && (await isUnwritableCd(path)));
    const file = await openDiskFile({ path, readOnly: isReadOnly, ephemeral, cache });
    try {
      const blockSize = blockSizeFor(path, file.open.direct?.offset ?? layout.blockSize, layout);
      // As the image was when it was opened: an ephemeral disk boots from what its image carries.
      return new FileMedium(file, { ...layout, blockSize }, () => openRawImage(path, { format: 'raw' }));
    } catch (error) {
      await file.close();
      throw error;
    }
  }

  /** A copy of its own of a disk that had this layout; it boots from what its guest has made of it. */
  static async ofFrozen(content: FrozenContent, layout: DiskLayout): Promise<FileMedium> {
    const file = await openFrozen(content);
    return new FileMedium(file, layout, async () => {
      const { openMapReader } = await import('../disk/map-reader.js');
      return openMapReader(file.open, file.path);
    });
  }

  private constructor(file: DiskFile, layout: DiskLayout, read: Reading) {
    this.#file = file;
    this.layout = layout;
    this.#read = read;
  }

  get name(): string {
    return this.#file.path;
  }

  get open(): OpenFileDisk {
    return this.#file.open;
  }

  get ioSize(): number {
    return this.#file.ioSize;
  }

  get freezing(): Freezing {
    return this.#file;
  }

  reader(): Promise<BlockReader & AsyncDisposable> {
    return this.#read();
  }

  grow(size: number): Promise<void> {
    return this.#file.grow(size);
  }

  close(): Promise<void> {
    return this.#file.close();
  }
}

/** A CD image that may not be written is read-only without being told so: nobody writes to one. */
async function isUnwritableCd(path: string): Promise<boolean> {
  const isWritable = await access(path, constants.W_OK).then(
    () => true,
    () => false, // whatever is wrong is said when the file is opened
  );
  if (isWritable) return false;
  const { isCdImage } = await import('../boot/fs/iso/iso.js');
  await using image = await openRawImage(path, { format: 'raw' });
  return await isCdImage(image);
}
