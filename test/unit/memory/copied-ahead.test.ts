/** Memory that is copied before it is frozen: what is written afterwards counts, whoever writes it. */
import { closeSync, openSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { Sys, syscall } from '../../../src/host/system.js';
import { type CopyJob, chunkSize, copySome, jobBytes, stopJob } from '../../../src/memory/copy-job.js';
import { GuestRam, hugePageSize } from '../../../src/memory/ram.js';
import { canWatch } from '../../../src/memory/write-watch.js';
import { openTargets } from '../../support/descriptors.js';
import { blocks, content, freeze, map, page, releaseAll, write } from './support/ram.js';

afterEach(releaseAll);

const whyNot = canWatch() ? undefined : 'this kernel cannot watch memory (Linux 6.7)';
if (whyNot !== undefined) console.log(`skipped: memory that is copied ahead: ${whyNot}`);

/** What was written since the last time, in two steps. */
function protect(ram: GuestRam): CopyJob {
  const half = Math.floor(ram.size / 2 / page) * page;
  ram.protect(0, half);
  ram.protect(half, ram.size - half);
  return ram.copyAhead();
}

/** Copies it: bytes. `between`: after the pages were protected. */
function copyAhead(ram: GuestRam, between: () => void = () => {}): number {
  const job = protect(ram);
  between();
  copySome(job, Buffer.alloc(chunkSize));
  return jobBytes(job);
}

/** The kernel writes for us. */
function readZeroes(ram: GuestRam, at: number): void {
  const fd = openSync('/dev/zero', 'r');
  expect(syscall(Sys.read, fd, ram.hostAddress + at * page, page)).toBe(page);
  closeSync(fd);
}

const MADV_DONTNEED = 4;

/** The page is no longer the machine's own: what reclaim does to one that has become zeroes, which `reads` then finds as the kernel's. */
function drop(ram: GuestRam, at: number, reads: boolean): void {
  expect(syscall(Sys.madvise, ram.hostAddress + at * page, page, MADV_DONTNEED)).toBe(0);
  if (reads) native().copyOut(ram.hostAddress + at * page, Buffer.alloc(1));
}

const writes = (ram: GuestRam, pages: number): boolean[] => [
  ram.hasWritten(pages * page),
  ram.hasWritten((pages + 1) * page),
];

describe.skipIf(whyNot !== undefined)('memory that is copied ahead', () => {
  test('leaves to the freeze what was written since', () => {
    const ram = map(1024);
    for (let at = 0; at < 512; at++) write(ram, at, 1 + (at % 250));
    expect(writes(ram, 512)).toEqual([true, false]);
    expect(ram.beginCopyAhead()).toBe(true);
    expect(copyAhead(ram)).toBe(512 * page);
    for (const at of [3, 4, 300]) write(ram, at, 0xee);
    expect(copyAhead(ram, () => write(ram, 4, 0xdd))).toBe(3 * page);
    readZeroes(ram, 5);
    const then = content(ram);
    const job = ram.beginFreeze();
    expect(jobBytes(job)).toBe(2 * page); // 4 and 5
    while (!ram.copyFreeze(page));
    ram.endFreeze();
    expect(content(ram).equals(then)).toBe(true);
    expect(content(map(1024, ram.pieces)).equals(then)).toBe(true);
    expect(ram.hasWritten(page)).toBe(false);
  });

  test('has holes where pages were zeroes', () => {
    const ram = map(64);
    for (let at = 0; at < 64; at++) write(ram, at, at < 8 ? 7 : 0);
    ram.beginCopyAhead();
    copyAhead(ram);
    for (let at = 0; at < 5; at++) write(ram, at, 0);
    copyAhead(ram);
    for (let at = 5; at < 7; at++) write(ram, at, 0);
    const [piece] = freeze(ram);
    expect(blocks(piece!.layer!.fd)).toBe(page / 512);
  });

  test.each([false, true])("is zeroes where a page has become that and is nobody's any more (read: %s)", (reads) => {
    const ram = GuestRam.map(64 * page, { hugepages: 'off' });
    for (let at = 0; at < 64; at++) write(ram, at, 7);
    ram.beginCopyAhead();
    copyAhead(ram);
    drop(ram, 9, reads);
    const then = content(ram);
    expect(then[9 * page]).toBe(0);
    expect(content(map(64, freeze(ram))).equals(then)).toBe(true);
    ram.release();
  });

  test('is watched page by page where the kernel has huge ones', () => {
    const pages = (2 * hugePageSize) / page;
    const ram = map(pages);
    for (let at = 0; at < pages; at++) write(ram, at, 1);
    ram.beginCopyAhead();
    copyAhead(ram);
    write(ram, pages - 1, 2);
    expect(copyAhead(ram)).toBeLessThanOrEqual(hugePageSize);
    const then = content(ram);
    expect(content(map(pages, freeze(ram))).equals(then)).toBe(true);
  });

  test('that nobody freezes changes nothing and leaves nothing', () => {
    const ram = map(64);
    for (let at = 0; at < 64; at += 2) write(ram, at, 3);
    const before = openTargets().sort();
    ram.beginCopyAhead();
    stopJob(protect(ram));
    ram.abandonCopyAhead();
    ram.abandonCopyAhead();
    ram.beginCopyAhead();
    copyAhead(ram);
    ram.beginFreeze();
    ram.abandonFreeze();
    ram.abandonCopyAhead();
    expect(openTargets().sort()).toEqual(before);
    const then = content(ram);
    expect(writes(ram, 32)).toEqual([true, false]);
    expect(content(map(64, freeze(ram))).equals(then)).toBe(true);
    const other = map(8);
    other.beginCopyAhead();
    other.release();
    releaseAll();
    expect(openTargets().filter((target) => target.includes('userfaultfd') || target.includes('tsvmm-layer'))).toEqual(
      [],
    );
  });

  test('property: a freeze shows what a copy would, whatever was copied before it', () => {
    const pages = 40;
    const at = fc.nat(pages - 1);
    const step = fc.oneof(
      { weight: 6, arbitrary: fc.record({ kind: fc.constant('write' as const), at, value: fc.nat(255) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('read' as const), at }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('drop' as const), at, reads: fc.boolean() }) },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('round' as const), at, value: fc.nat(255) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeze' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('abandon' as const) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ram = map(pages);
        const model = Buffer.alloc(pages * page);
        /** What is under the pages that the machine has of its own. */
        let under = Buffer.from(model);
        let isBegun = false;
        const set = (index: number, value: number): void => {
          write(ram, index, value);
          model.fill(value, index * page, (index + 1) * page);
        };
        for (const action of steps) {
          switch (action.kind) {
            case 'write':
              set(action.at, action.value);
              break;
            case 'read':
              readZeroes(ram, action.at);
              model.fill(0, action.at * page, (action.at + 1) * page);
              break;
            case 'drop':
              drop(ram, action.at, action.reads);
              under.copy(model, action.at * page, action.at * page, (action.at + 1) * page);
              break;
            case 'round':
              if (!isBegun) isBegun = ram.beginCopyAhead();
              copyAhead(ram, () => set(action.at, action.value));
              break;
            case 'freeze': {
              const child = map(pages, freeze(ram));
              expect(content(child).equals(model)).toBe(true);
              child.release();
              under = Buffer.from(model);
              isBegun = false;
              break;
            }
            case 'abandon':
              ram.abandonCopyAhead();
              isBegun = false;
              break;
          }
          expect(content(ram).equals(model)).toBe(true);
        }
        expect(content(map(pages, freeze(ram))).equals(model)).toBe(true);
        releaseAll();
      }),
      { numRuns: 60 },
    );
  });
});
