/** What main and the thread that copies a disk say to each other. Both sides. */
import type { OpenFrozen } from '../disk/disk-map.js';
import type { WireError } from '../errors.js';

/** How the thread is started. Main closes the descriptors when it has ended. */
export interface DiskCopyData {
  readonly disk: OpenFrozen;
  /** Of the image, for messages. */
  readonly path: string;
  /** A new file. */
  readonly target: number;
  /** A word that is not 0 when nobody wants the copy any more. */
  readonly stop: SharedArrayBuffer;
}

/** Thread -> main; then it ends. */
export type DiskCopyReport =
  | { readonly type: 'progress'; readonly done: number }
  | { readonly type: 'copied' }
  | { readonly type: 'stopped' }
  | { readonly type: 'failed'; readonly error: WireError };
