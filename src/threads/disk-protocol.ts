/** What main and the worker of a disk's module say to each other: two closed unions. Both sides. */
import type { OpenUserDisk } from '../disk/user-channel.js';
import type { UserDiskFacts } from '../disk/user-disk.js';

/** How the worker is started. */
export interface DiskWorkerData {
  /** URL of the user's module. */
  readonly module: string;
  /** For its default export. */
  readonly data: unknown;
}

/** Main -> worker */
export type DiskCommand =
  /** The answer to `loaded`: what the module said, checked. */
  | { readonly type: 'open'; readonly facts: UserDiskFacts }
  | { readonly type: 'serve'; readonly disk: OpenUserDisk }
  /** For the boot. */
  | { readonly type: 'read'; readonly id: number; readonly offset: number; readonly length: number }
  | { readonly type: 'abort'; readonly id: number }
  /** Nothing is asked any more: functions at work are told and waited for, for a moment. */
  | { readonly type: 'close' };

/** Worker -> main */
export type DiskReport =
  /** What the module's default export made: values as they are, functions by their names. */
  | {
      readonly type: 'loaded';
      readonly values: Readonly<Record<string, unknown>>;
      readonly functions: readonly string[];
    }
  /** The module has failed before it had made a disk. */
  | { readonly type: 'failed'; readonly message: string; readonly stack: string | undefined }
  | { readonly type: 'read'; readonly id: number; readonly bytes?: Uint8Array<ArrayBuffer>; readonly failure?: string }
  | { readonly type: 'warning'; readonly message: string; readonly suppressed: number }
  | { readonly type: 'closed' };
