import fc from 'fast-check';
import { expect, test } from 'vitest';
import { native } from '../../../../src/host/addon.js';
import { IoVectors } from '../../../../src/virtio/blk/io-vectors.js';
import { Chain } from '../../../../src/virtio/queue/chain.js';

/** What the kernel would find: every byte's address, of `count` iovecs at `address`. */
function bytesOf(address: number, count: number): number[] {
  const memory = new Uint8Array(count * 16);
  native().copyOut(address, memory);
  const view = new DataView(memory.buffer);
  const found: number[] = [];
  for (let i = 0; i < count; i++) {
    const base = Number(view.getBigUint64(i * 16, true));
    const length = Number(view.getBigUint64(i * 16 + 8, true));
    for (let k = 0; k < length; k++) found.push(base + k);
  }
  return found;
}

test('T13: operations of any size, done in any part, cover every byte once and in order', () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 1, max: 40 }), { minLength: 1, maxLength: 10 }),
      fc.nat({ max: 60 }),
      fc.array(fc.tuple(fc.integer({ min: 1, max: 80 }), fc.double({ min: 0.01, max: 1, noNaN: true })), {
        minLength: 1,
      }),
      (lengths, skip, steps) => {
        const total = lengths.reduce((sum, length) => sum + length, 0);
        if (skip >= total) return;
        const chain = new Chain(16);
        const all: number[] = [];
        lengths.forEach((length, i) => {
          chain.host[i] = 0x7f00_0000_0000 + i * 0x1000;
          chain.length[i] = length;
          for (let k = 0; k < length; k++) all.push(chain.host[i]! + k);
        });
        const vectors = new IoVectors(2, 16);
        const addresses = new Float64Array(2);
        const wanted = all.slice(skip);
        vectors.fill(1, chain, 0, lengths.length, skip, wanted.length);
        const seen: number[] = [];
        for (let i = 0; seen.length < wanted.length; i++) {
          const [most, part] = steps[i % steps.length]!;
          const left = wanted.length - seen.length;
          const bytes = Math.min(most, left);
          const count = vectors.take(1, bytes);
          vectors.place(1, 2, addresses);
          const covered = bytesOf(addresses[1]!, count);
          expect(covered).toHaveLength(bytes);
          vectors.place(1, 1, addresses);
          expect(addresses[1]).toBe(covered[0]);
          const done = Math.max(1, Math.floor(bytes * part));
          seen.push(...covered.slice(0, done));
          vectors.advance(1, done);
        }
        expect(seen).toEqual(wanted);
        vectors.close();
      },
    ),
  );
});
