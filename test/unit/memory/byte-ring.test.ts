import { Worker } from 'node:worker_threads';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { ByteRing, byteRingSize } from '../../../src/memory/byte-ring.js';

const make = (capacity: number): ByteRing => new ByteRing(new SharedArrayBuffer(byteRingSize(capacity)), 0, capacity);

describe('byte ring', () => {
  test('gives back what was put in, in order, and -1 when empty', () => {
    const ring = make(4);
    expect(ring.shift()).toBe(-1);
    for (const byte of [1, 2, 3, 4]) expect(ring.push(byte)).toBe(true);
    expect(ring.push(5)).toBe(false);
    expect(ring.space).toBe(0);
    expect([ring.shift(), ring.shift(), ring.shift(), ring.shift(), ring.shift()]).toEqual([1, 2, 3, 4, -1]);
  });

  test('a write longer than the room takes what fits', () => {
    const ring = make(8);
    expect(ring.write(Uint8Array.from([1, 2, 3, 4, 5, 6]))).toBe(6);
    expect(ring.write(Uint8Array.from([7, 8, 9]))).toBe(2);
    const out = new Uint8Array(16);
    expect(ring.read(out)).toBe(8);
    expect([...out.subarray(0, 8)]).toEqual([1, 2, 3, 4, 5, 6, 7, 8]);
  });

  test('counters may wrap at 2^32', () => {
    const buffer = new SharedArrayBuffer(byteRingSize(4));
    const counters = new Int32Array(buffer);
    const ring = new ByteRing(buffer, 0, 4);
    counters.fill(-2, 0, 4);
    for (const byte of [1, 2, 3, 4]) expect(ring.push(byte)).toBe(true);
    expect(ring.push(5)).toBe(false);
    expect(ring.length).toBe(4);
    expect([ring.shift(), ring.shift(), ring.shift(), ring.shift()]).toEqual([1, 2, 3, 4]);
  });

  test('refuses a capacity that is not a power of two', () => {
    expect(() => make(3)).toThrow(RangeError);
    expect(() => make(0)).toThrow(RangeError);
  });

  test('behaves as a bounded queue and touches no byte outside itself', () => {
    const step = fc.oneof(
      fc.record({ kind: fc.constant('write' as const), data: fc.uint8Array({ maxLength: 40 }) }),
      fc.record({ kind: fc.constant('read' as const), count: fc.nat(40) }),
      fc.record({ kind: fc.constant('push' as const), byte: fc.nat(255) }),
      fc.record({ kind: fc.constant('shift' as const) }),
    );
    fc.assert(
      fc.property(fc.constantFrom(1, 2, 16, 32), fc.array(step, { maxLength: 60 }), (capacity, steps) => {
        const size = byteRingSize(capacity);
        const buffer = new SharedArrayBuffer(size + 16);
        const all = new Uint8Array(buffer).fill(0xaa);
        const ring = new ByteRing(buffer, 8, capacity);
        ring.clear();
        const model: number[] = [];
        for (const s of steps) {
          if (s.kind === 'write') {
            const fits = Math.min(s.data.length, capacity - model.length);
            expect(ring.write(s.data)).toBe(fits);
            model.push(...s.data.subarray(0, fits));
          } else if (s.kind === 'read') {
            const into = new Uint8Array(s.count);
            const got = ring.read(into);
            expect([...into.subarray(0, got)]).toEqual(model.splice(0, s.count));
          } else if (s.kind === 'push') {
            expect(ring.push(s.byte)).toBe(model.length < capacity);
            if (model.length < capacity) model.push(s.byte);
          } else expect(ring.shift()).toBe(model.shift() ?? -1);
          expect(ring.length).toBe(model.length);
          expect(ring.space).toBe(capacity - model.length);
        }
        expect([...all.subarray(0, 8), ...all.subarray(8 + size)]).toEqual(new Array(16).fill(0xaa));
      }),
    );
  });

  test('two threads: a producer in a worker, nothing lost or reordered', async () => {
    const capacity = 64;
    const total = 50_000;
    const buffer = new SharedArrayBuffer(byteRingSize(capacity));
    // The worker is plain JavaScript, as test workers are not transformed; it follows the documented layout.
    const source = `
      const { workerData } = require('node:worker_threads');
      const { buffer, capacity, total } = workerData;
      const written = new Int32Array(buffer, 0, 1), read = new Int32Array(buffer, 8, 1), data = new Uint8Array(buffer, 16);
      for (let i = 0; i < total; ) {
        if (((i - Atomics.load(read, 0)) >>> 0) >= capacity) continue;
        data[i & (capacity - 1)] = i * 7;
        Atomics.store(written, 0, ++i);
      }`;
    const worker = new Worker(source, { eval: true, workerData: { buffer, capacity, total } });
    const done = new Promise((resolve) => worker.once('exit', resolve));
    const ring = new ByteRing(buffer, 0, capacity);
    const chunk = new Uint8Array(48);
    let seen = 0;
    let wrong = 0;
    while (seen < total) {
      const count = ring.read(chunk);
      if (count === 0) await new Promise(setImmediate);
      for (let i = 0; i < count; i++, seen++) if (chunk[i] !== ((seen * 7) & 0xff)) wrong++;
    }
    await done;
    expect(wrong).toBe(0);
    expect(ring.length).toBe(0);
  });
});
