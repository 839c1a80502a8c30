/** Guest RAM frozen again and again: what each layer shows, against a model that copies whole memories. */
import fc from 'fast-check';
import { afterEach, describe, expect, test } from 'vitest';
import { native } from '../../../src/host/addon.js';
import { Sys, syscall } from '../../../src/host/system.js';
import { chunkSize, copySome, stopJob } from '../../../src/memory/copy-job.js';
import { maxPieces, planFreeze } from '../../../src/memory/freeze.js';
import { freePages } from '../../../src/memory/pages-aside.js';
import { GuestRam, type RamPiece } from '../../../src/memory/ram.js';
import type { Run } from '../../../src/memory/runs.js';
import { openTargets } from '../../support/descriptors.js';
import { blocks, content, freeze, map, page, releaseAll, write } from './support/ram.js';

afterEach(releaseAll);

describe('a freeze', () => {
  test('is seen by who is mapped from it, and by nobody what is written afterwards', () => {
    const parent = map(8);
    write(parent, 1, 0x11);
    write(parent, 5, 0x55);
    const frozen = content(parent);
    const pieces = freeze(parent);
    const child = map(8, pieces);
    write(parent, 1, 0x22);
    write(child, 5, 0x66);
    expect(content(parent)).toEqual(
      Buffer.concat([frozen.subarray(0, page), Buffer.alloc(page, 0x22), frozen.subarray(2 * page)]),
    );
    expect(content(child)).toEqual(
      Buffer.concat([frozen.subarray(0, 5 * page), Buffer.alloc(page, 0x66), frozen.subarray(6 * page)]),
    );
    expect(content(map(8, pieces))).toEqual(frozen);
  });

  test('copies nothing that is zeroes or was not written', () => {
    const ram = map(1024);
    write(ram, 3, 0);
    write(ram, 700, 7);
    const [piece] = freeze(ram);
    expect(piece).toMatchObject({ offset: 0, length: 1024 * page, layerOffset: 0 });
    expect(blocks(piece!.layer!.fd)).toBe(page / 512);
  });

  test('leaves the pages that were written aside, until somebody has freed them', () => {
    const ram = map(2048);
    for (let at = 0; at < 1024; at++) write(ram, at, 9);
    freeze(ram);
    write(ram, 5, 1);
    write(ram, 1500, 2); // over the same layer, and of two parts
    const before = content(ram);
    freeze(ram); // what the first has left is freed
    expect(ram.takeAside()!.parts).toEqual([]); // too little
    for (let at = 0; at < 1024; at++) write(ram, at, 7);
    before.fill(7, 0, 1024 * page);
    freeze(ram);
    const aside = ram.takeAside()!;
    expect(ram.takeAside()).toBeUndefined();
    const [part, ...others] = aside.parts;
    expect([part!.length, others]).toEqual([1018 * page, []]); // page 5 is another mapping, and what is before it little
    const one = Buffer.alloc(page);
    native().copyOut(part!.address + 5 * page, one);
    expect(one).toEqual(Buffer.alloc(page, 7));
    freePages([{ address: part!.address + 5 * page, length: page }]);
    native().copyOut(part!.address + 5 * page, one);
    expect(one[0]).not.toBe(7);
    expect(native().memoryHolders(part!.address)).toBe(1);
    const { address } = part!;
    aside.release();
    aside.release();
    expect(native().memoryHolders(address)).toBe(0);
    expect(content(ram).equals(before)).toBe(true);
    expect(freeze(ram)).toHaveLength(ram.pieces.length);
    expect(ram.takeAside()!.parts).toEqual([]);
  });

  test('leaves pages that cannot be moved to what is mapped over them', () => {
    const ram = map(1024);
    for (let at = 0; at < 1024; at++) write(ram, at, 9);
    // Another mapping in the middle, as the guard of memory makes one.
    expect(syscall(Sys.mmap, ram.hostAddress + 512 * page, page, 1, 0x32, -1, 0)).toBe(ram.hostAddress + 512 * page);
    const before = content(ram);
    freeze(ram);
    expect(ram.takeAside()!.parts).toEqual([]);
    expect(content(ram).equals(before)).toBe(true);
    expect(content(map(1024, ram.pieces)).equals(before)).toBe(true);
  });

  test('of what was not written since makes no new layer', () => {
    const ram = map(16);
    write(ram, 0, 1);
    const before = freeze(ram);
    expect(freeze(ram)).toEqual(before);
  });

  test('makes layers that nobody can write to', () => {
    const ram = map(4);
    write(ram, 0, 1);
    const { fd } = freeze(ram)[0]!.layer!;
    expect(syscall(Sys.pwrite64, fd, Buffer.from('x'), 1, 0)).toBeLessThan(0);
    expect(syscall(Sys.ftruncate, fd, 0)).toBeLessThan(0);
  });

  test('has what the program writes to memory between two steps', () => {
    const ram = map(64);
    for (let at = 0; at < 64; at++) write(ram, at, 9);
    freeze(ram);
    for (let at = 0; at < 32; at++) write(ram, at, 1);
    ram.beginFreeze();
    ram.copyFreeze(8 * page);
    write(ram, 2, 0xee); // was copied
    write(ram, 3, 0); // was copied, and is a hole where it had not been
    write(ram, 60, 0xdd); // was not to be copied
    while (!ram.copyFreeze(8 * page));
    ram.endFreeze();
    const now = content(ram);
    expect([now[2 * page], now[3 * page], now[60 * page], now[61 * page]]).toEqual([0xee, 0, 0xdd, 9]);
    expect(content(map(64, ram.pieces))).toEqual(now);
  });

  test('is copied by whoever takes a chunk, each once', () => {
    const pages = 300;
    const ram = map(pages);
    for (let at = 0; at < pages; at += 3) write(ram, at, 1 + (at % 250));
    const frozen = content(ram);
    const job = ram.beginFreeze();
    const buffer = Buffer.alloc(chunkSize);
    expect(copySome(job, buffer, 1)).toBe(false);
    ram.copyFreeze(chunkSize);
    expect(copySome(job, buffer)).toBe(true);
    expect(ram.copyFreeze(1)).toBe(true);
    ram.endFreeze();
    expect(content(map(pages, ram.pieces))).toEqual(frozen);
  });

  test('is not begun anew by who comes late: after a stop nobody copies', () => {
    const ram = map(300);
    for (let at = 0; at < 300; at++) write(ram, at, 1);
    const job = ram.beginFreeze();
    stopJob(job);
    expect(copySome(job, Buffer.alloc(chunkSize))).toBe(true);
    expect(blocks(job.fd)).toBe(0);
    ram.abandonFreeze();
  });

  test('that is abandoned changes nothing', () => {
    const ram = map(8);
    write(ram, 2, 3);
    const { pieces } = ram;
    const before = openTargets().sort();
    ram.beginFreeze();
    ram.copyFreeze(page);
    ram.abandonFreeze();
    expect(openTargets().sort()).toEqual(before);
    expect(ram.pieces).toBe(pieces);
    expect(content(ram)[2 * page]).toBe(3);
  });

  test('layers are closed when nobody shows them any more, whoever ends first', () => {
    const before = openTargets().sort();
    const parent = map(8);
    write(parent, 0, 1);
    const child = map(8, freeze(parent));
    write(parent, 1, 2);
    freeze(parent);
    parent.release();
    expect(content(child)[0]).toBe(1);
    write(child, 1, 3);
    const grandchild = map(8, freeze(child));
    child.release();
    expect(content(grandchild).subarray(0, 2 * page)).toEqual(
      Buffer.concat([Buffer.alloc(page, 1), Buffer.alloc(page, 3)]),
    );
    grandchild.release();
    expect(openTargets().sort()).toEqual(before);
  });

  test('is refused where pages come from the pool of huge ones', () => {
    const ram = Object.create(GuestRam.prototype, { hugepages: { value: 'hugetlb' } }) as GuestRam;
    expect(() => ram.beginFreeze()).toThrow("'hugetlb' pages cannot be frozen");
  });

  test('property: any number of freezes and forks of forks show what a copy would', () => {
    const pages = 48;
    const step = fc.oneof(
      {
        weight: 6,
        arbitrary: fc.record({
          kind: fc.constant('write' as const),
          who: fc.nat(5),
          at: fc.nat(pages - 1),
          value: fc.nat(255),
        }),
      },
      { weight: 2, arbitrary: fc.record({ kind: fc.constant('fork' as const), who: fc.nat(5) }) },
      { weight: 1, arbitrary: fc.record({ kind: fc.constant('end' as const), who: fc.nat(5) }) },
    );
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const machines = [{ ram: map(pages), model: Buffer.alloc(pages * page) }];
        for (const action of steps) {
          const one = machines[action.who % machines.length]!;
          if (action.kind === 'write') {
            write(one.ram, action.at, action.value);
            one.model.fill(action.value, action.at * page, (action.at + 1) * page);
          } else if (action.kind === 'fork') {
            machines.push({ ram: map(pages, freeze(one.ram)), model: Buffer.from(one.model) });
          } else if (machines.length > 1) {
            one.ram.release();
            machines.splice(machines.indexOf(one), 1);
          }
          for (const { ram, model } of machines) expect(content(ram).equals(model)).toBe(true);
        }
        for (const { ram } of machines) ram.release();
      }),
      { numRuns: 60 },
    );
  });
});

describe('the plan of a freeze', () => {
  const layer = { fd: 1 } as NonNullable<RamPiece['layer']>;
  const covers = (cover: readonly Run[], at: number): boolean =>
    cover.some(({ start, end }) => start <= at && at < end);

  test('property: covers and copies what was written, within the number of pieces', () => {
    const total = 4000;
    fc.assert(
      fc.property(
        fc.uniqueArray(fc.nat(total - 1), { maxLength: 900 }),
        fc.uniqueArray(fc.integer({ min: 1, max: total - 1 }), { maxLength: 8 }),
        fc.integer({ min: 10, max: maxPieces }),
        (written, cuts, most) => {
          const edges = [0, ...[...cuts].sort((a, b) => a - b), total];
          const pieces = edges.slice(1).map((end, i): RamPiece => {
            const offset = edges[i]! * page;
            const length = end * page - offset;
            return i % 2 === 0 ? { offset, length } : { offset, length, layer, layerOffset: offset };
          });
          const runs = written.map((at) => ({ start: at * page, end: (at + 1) * page }));
          const plan = planFreeze(runs, pieces, most);
          for (const { start } of runs) {
            expect(covers(plan.cover, start)).toBe(true);
            expect(covers(plan.copy, start)).toBe(true);
          }
          // What is covered and not copied is a hole: it must have been zeroes.
          for (const piece of pieces) {
            if (piece.layer === undefined) continue;
            for (let at = piece.offset; at < piece.offset + piece.length; at += page)
              if (covers(plan.cover, at)) expect(covers(plan.copy, at)).toBe(true);
          }
          const between = plan.cover.filter(({ start }, i) => i > 0 && start > plan.cover[i - 1]!.end).length + 1;
          expect(plan.cover.length === 0 || between <= most).toBe(true);
        },
      ),
      { numRuns: 40 },
    );
  });
});
