/** Memory that is copied before it is frozen: what is written afterwards counts, whoever writes it. */
import { closeSync, openSync } from 'node:fs';
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { Sys, syscall } from '../../../src/host/system.js';
import { chunkSize, copySome, jobBytes, stopJob } from '../../../src/memory/copy-job.js';
import { type GuestRam, hugePageSize } from '../../../src/memory/ram.js';
import { WriteWatch } from '../../../src/memory/write-watch.js';
import { openTargets } from '../../support/descriptors.js';
import { blocks, content, freeze, map, page, releaseAll, write } from './support/ram.js';

afterEach(releaseAll);

const whyNot = (() => {
  const ram = map(1);
  const watch = WriteWatch.over(ram.hostAddress, ram.size);
  watch?.close();
  releaseAll();
  return watch === undefined ? 'this kernel cannot watch memory (Linux 6.7)' : undefined;
})();
if (whyNot !== undefined) console.log(`skipped: memory that is copied ahead: ${whyNot}`);

/** Copies what was written since the last time: bytes. `between`: after the pages were protected. */
function copyAhead(ram: GuestRam, between: () => void = () => {}): number {
  const job = ram.copyAhead();
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

describe.skipIf(whyNot !== undefined)('memory that is copied ahead', () => {
  test('leaves to the freeze what was written since', () => {
    const ram = map(1024);
    for (let at = 0; at < 512; at++) write(ram, at, 1 + (at % 250));
    expect(ram.written).toBe(512 * page);
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
    expect(ram.written).toBe(0);
  });

  test('has holes where pages were zeroes', () => {
    const ram = map(64);
    for (let at = 0; at < 64; at++) write(ram, at, at === 7 ? 7 : 0);
    ram.beginCopyAhead();
    copyAhead(ram);
    const [piece] = freeze(ram);
    expect(blocks(piece!.layer!.fd)).toBe(page / 512);
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
    stopJob(ram.copyAhead());
    ram.abandonCopyAhead();
    ram.abandonCopyAhead();
    ram.beginCopyAhead();
    copyAhead(ram);
    ram.beginFreeze();
    ram.abandonFreeze();
    ram.abandonCopyAhead();
    expect(openTargets().sort()).toEqual(before);
    const then = content(ram);
    expect(ram.written).toBe(32 * page);
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
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('round' as const), at, value: fc.nat(255) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('freeze' as const) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('abandon' as const) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const ram = map(pages);
        const model = Buffer.alloc(pages * page);
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
            case 'round':
              if (!isBegun) isBegun = ram.beginCopyAhead();
              copyAhead(ram, () => set(action.at, action.value));
              break;
            case 'freeze': {
              const child = map(pages, freeze(ram));
              expect(content(child).equals(model)).toBe(true);
              child.release();
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
