/**
 * Which pages of a range of this process's memory are private to it: written, and not those of a file (contract §4.3, §4.5).
 * Any thread.
 *
 * The kernel answers whole runs (PAGEMAP_SCAN, Linux 6.7, Documentation/admin-guide/mm/pagemap.rst); an older one has a word
 * for each page. Either way whoever wrote is found: a guest, the kernel for us, this program. Which of them were written since
 * they were last protected only PAGEMAP_SCAN knows (write-watch.ts).
 */
import { closeSync, openSync, readSync } from 'node:fs';
import { TsvmmError } from '../errors.js';
import { native } from '../host/addon.js';
import { Errno, errnoName } from '../host/errno.js';
import { struct } from '../host/layout.js';
import { Sys, syscall } from '../host/system.js';

/** linux/fs.h. */
const PmScanArg = struct('pm_scan_arg', {
  size: 'u64',
  flags: 'u64',
  start: 'u64',
  end: 'u64',
  walk_end: 'u64',
  vec: 'u64',
  vec_len: 'u64',
  max_pages: 'u64',
  category_inverted: 'u64',
  category_mask: 'u64',
  category_anyof_mask: 'u64',
  return_mask: 'u64',
});
const PAGEMAP_SCAN = 0xc060_6610;
const PM_SCAN_WP_MATCHING = 1;
const PM_SCAN_CHECK_WPASYNC = 2;
const PAGE_IS_WRITTEN = 2;
const PAGE_IS_FILE = 4;
const PAGE_IS_PRESENT = 8;
const PAGE_IS_SWAPPED = 16;
const PAGE_IS_PFNZERO = 32;

const pageSize = 4096;
/** Doubles of { start, end, categories }, 64 bits each. */
const regionWords = 3;
const regionsAtOnce = 4096;
const wordBytes = 8;
/** Present is bit 63, swapped out 62, of a file 61: of the upper half. */
const isThereBits = 0xc000_0000;
const isFileBit = 0x2000_0000;
const wordsAtOnce = 65_536;

/** Called with each run: `start` and `end` are offsets from the range's address, in order. */
export type OnRun = (start: number, end: number) => void;

/**
 * The same of pages that are not a file's. `isZero`: the kernel shows its page of zeroes; over a file that is one that was written.
 * `isWritten`: since it was last protected (write-watch.ts), which pages that nobody protects always are.
 */
export type OnPrivateRun = (start: number, end: number, isZero: boolean, isWritten: boolean) => void;

/** What PAGEMAP_SCAN is asked for: pages that are there, with these categories and without those; which of `told` they have. */
interface Query {
  readonly with: number;
  readonly without: number;
  readonly told: number;
  readonly flags: number;
  /** Looks at no more pages than so many that it has found; 0: at all. */
  readonly most: number;
}

const present: Query = { with: 0, without: 0, told: 0, flags: 0, most: 0 };
const privateOrZero: Query = { ...present, without: PAGE_IS_FILE, told: PAGE_IS_PFNZERO | PAGE_IS_WRITTEN };
const isPrivate: Query = { ...present, without: PAGE_IS_FILE | PAGE_IS_PFNZERO };
/** Protected again by being asked for. */
const written: Query = { ...isPrivate, with: PAGE_IS_WRITTEN, flags: PM_SCAN_WP_MATCHING | PM_SCAN_CHECK_WPASYNC };

/** `address` and `length` are multiples of the page size. An older kernel tells zeroes from nothing. */
export function privateRuns(address: number, length: number, onRun: OnPrivateRun): void {
  withPagemap((fd) => {
    const tell = (start: number, end: number, told: number): void =>
      onRun(start, end, (told & PAGE_IS_PFNZERO) !== 0, (told & PAGE_IS_WRITTEN) !== 0);
    if (scan(fd, address, length, privateOrZero, tell) < 0)
      readWords(fd, address, length, true, (start, end) => onRun(start, end, false, true));
  });
}

/** All pages that were touched, private or not. */
export function presentRuns(address: number, length: number, onRun: OnRun): void {
  withPagemap((fd) => {
    if (scan(fd, address, length, present, onRun) < 0) readWords(fd, address, length, false, onRun);
  });
}

/** Whether so many bytes are private, without looking further; false where only Linux 6.7 could say so quickly. */
export const hasPrivate = (address: number, length: number, bytes: number): boolean =>
  withPagemap((fd) => scan(fd, address, length, { ...isPrivate, most: bytes / pageSize }, () => {}) >= bytes);

/** Private pages of a range that is watched, written since they were last protected, which they are again. */
export function protectWritten(address: number, length: number, onRun: OnRun): void {
  withPagemap((fd) => scan(fd, address, length, written, onRun));
}

function withPagemap<T>(use: (fd: number) => T): T {
  let fd: number;
  try {
    fd = openSync('/proc/self/pagemap', 'r');
  } catch (error) {
    throw failed((error as NodeJS.ErrnoException).code ?? String(error), error);
  }
  try {
    return use(fd);
  } finally {
    closeSync(fd);
  }
}

/** Bytes that were found; -1 where the kernel cannot. */
function scan(
  fd: number,
  address: number,
  length: number,
  query: Query,
  onRun: (start: number, end: number, told: number) => void,
): number {
  const regions = new BigUint64Array(regionsAtOnce * regionWords);
  const arg = new DataView(new ArrayBuffer(PmScanArg.size));
  const at = PmScanArg.offset;
  const set = (offset: number, value: number): void => arg.setBigUint64(offset, BigInt(value), true);
  set(at.size, PmScanArg.size);
  set(at.flags, query.flags);
  set(at.end, address + length);
  set(at.vec, native().addressOf(regions));
  set(at.vec_len, regionsAtOnce);
  set(at.category_inverted, query.without);
  set(at.category_mask, query.with | query.without);
  set(at.category_anyof_mask, PAGE_IS_PRESENT | PAGE_IS_SWAPPED);
  set(at.return_mask, query.told);
  let found = 0;
  for (let from = address; from < address + length; from = Number(arg.getBigUint64(at.walk_end, true))) {
    set(at.start, from);
    if (query.most > 0) set(at.max_pages, query.most - found / pageSize);
    const count = syscall(Sys.ioctl, fd, PAGEMAP_SCAN, arg);
    if (count === -Errno.ENOTTY) return -1;
    if (count < 0) throw failed(errnoName(count));
    for (let i = 0; i < count * regionWords; i += regionWords) {
      const start = Number(regions[i]!) - address;
      const end = Number(regions[i + 1]!) - address;
      found += end - start;
      onRun(start, end, Number(regions[i + 2]!));
    }
    if (query.most > 0 && found >= query.most * pageSize) break;
  }
  return found;
}

/** Exported for a kernel that can do better: its tests. */
export function readWords(fd: number, address: number, length: number, onlyPrivate: boolean, onRun: OnRun): void {
  const words = new Uint32Array(2 * wordsAtOnce);
  const pages = length / pageSize;
  let start = -1;
  for (let page = 0; page < pages; ) {
    const wanted = Math.min(wordsAtOnce, pages - page);
    const position = (address / pageSize + page) * wordBytes;
    const count = readSync(fd, words, 0, wanted * wordBytes, position) / wordBytes;
    if (count < 1) throw failed('it ends before the address space does');
    for (let i = 0; i < Math.floor(count); i++, page++) {
      const high = words[2 * i + 1]!;
      const isWanted = (high & isThereBits) !== 0 && (!onlyPrivate || (high & isFileBit) === 0);
      if (isWanted && start < 0) start = page;
      if (isWanted || start < 0) continue;
      onRun(start * pageSize, page * pageSize);
      start = -1;
    }
  }
  if (start >= 0) onRun(start * pageSize, length);
}

const failed = (why: string, cause?: unknown): TsvmmError =>
  new TsvmmError('ERR_TSVMM_STATE', `the pages of guest memory cannot be listed (/proc/self/pagemap): ${why}`, {
    hint: 'mount /proc in the container that this program runs in',
    cause,
  });
