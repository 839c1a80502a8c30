import fc from 'fast-check';
import { expect, test } from 'vitest';
import { OverlayRoom, roomBytes } from '../../../src/disk/overlay-room.js';

const block = 4096;
const sector = 512;
const blocks = 80;
const requests = 4;

function room(limit: number, givesBack = true): { room: OverlayRoom; used: Float64Array } {
  const used = new Float64Array(1);
  const given = new Uint32Array(roomBytes(blocks * block) / 4);
  return { room: new OverlayRoom(used, given, limit * block, requests, givesBack), used };
}

/** A write and a hole as they come and go when there is one at a time. */
function write({ room: of }: { room: OverlayRoom }, offset: number, length: number): number {
  const bytes = of.beginWrite(0, offset, length);
  of.end(0, true);
  return bytes;
}
function hole({ room: of }: { room: OverlayRoom }, offset: number, length: number, well = true): void {
  of.beginHole(0, offset, length);
  of.end(0, well);
}

test('where a file system keeps the room of a hole, nothing is given back', () => {
  const limited = room(4, false);
  expect(write(limited, 0, 4 * block)).toBe(4 * block);
  hole(limited, 0, 4 * block);
  expect(limited.used[0]).toBe(4);
  expect(write(limited, 10 * block, block)).toBe(0);
  expect(write(limited, block, block)).toBe(block);
});

test('what has become a hole is given back, and counts again when it is written', () => {
  const limited = room(4);
  expect(write(limited, 0, 4 * block)).toBe(4 * block);
  hole(limited, block, 2 * block);
  expect(limited.used[0]).toBe(2);
  expect(write(limited, 10 * block, 3 * block)).toBe(2 * block);
  expect(write(limited, block, block)).toBe(0);
  expect(write(limited, 3 * block, block)).toBe(block);
});

test('blocks of which a part becomes a hole keep their room, and so does a hole that failed', () => {
  const limited = room(4);
  write(limited, 0, 3 * block);
  hole(limited, sector, 3 * block - 2 * sector);
  expect(limited.used[0]).toBe(2);
  hole(limited, sector, sector);
  hole(limited, 0, 3 * block, false);
  expect(limited.used[0]).toBe(2);
  hole(limited, 0, blocks * block);
  expect(limited.used[0]).toBe(0);
});

test('a hole that a write met gives nothing back, whichever began first', () => {
  for (const writeFirst of [true, false]) {
    const { room: of, used } = room(8);
    if (writeFirst) of.beginWrite(1, 3 * block, sector);
    of.beginHole(0, 0, 8 * block);
    if (!writeFirst) of.beginWrite(1, 3 * block, sector);
    of.beginWrite(2, 20 * block, block);
    of.end(1, true);
    of.end(2, true);
    of.end(0, true);
    expect(used[0]).toBe(2);
    of.beginHole(0, 0, 8 * block);
    of.end(0, true);
    expect(used[0]).toBe(1);
  }
});

/**
 * A file system that does a write or a hole at any moment between its begin and its end. Every step either begins
 * something on a request, or lets one take effect, or ends it.
 */
test('no order of writes and holes makes the file larger than its limit', () => {
  const step = fc.record({
    request: fc.nat(requests - 1),
    writes: fc.boolean(),
    at: fc.nat(blocks * 8 - 1),
    count: fc.integer({ min: 1, max: 40 * 8 }),
    well: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), fc.integer({ min: 1, max: 40 }), (steps, limit) => {
      const { room: of, used } = room(limit);
      const file = new Set<number>();
      const underWay: (undefined | { writes: boolean; from: number; to: number; took: boolean })[] = [];
      for (const { request, writes, at, count, well } of steps) {
        const now = underWay[request];
        if (now === undefined) {
          const bytes = Math.min(count, blocks * 8 - at) * sector;
          const done = writes ? of.beginWrite(request, at * sector, bytes) : bytes;
          if (!writes) of.beginHole(request, at * sector, bytes);
          if (done === 0) continue;
          const [from, to] = [at * sector, at * sector + done];
          underWay[request] = writes
            ? { writes, from: Math.floor(from / block), to: Math.ceil(to / block), took: false }
            : { writes, from: Math.ceil(from / block), to: Math.floor(to / block), took: false };
        } else if (!now.took && well) {
          for (let i = now.from; i < now.to; i++) now.writes ? file.add(i) : file.delete(i);
          now.took = true;
        } else {
          of.end(request, now.took);
          underWay[request] = undefined;
        }
        expect(file.size).toBeLessThanOrEqual(used[0]!);
        expect(used[0]).toBeLessThanOrEqual(limit);
      }
    }),
  );
});
