import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { ByteQueue } from '../../../../src/cli/control/byte-queue.js';
import { ConsoleTail } from '../../../../src/cli/control/console-tail.js';
import {
  type Frame,
  FrameReader,
  FromMachine,
  frame,
  framesOf,
  mostPayload,
  ToMachine,
} from '../../../../src/cli/control/frames.js';

const bytes = (maxLength: number): fc.Arbitrary<Buffer> =>
  fc.uint8Array({ maxLength }).map((array) => Buffer.from(array));

function* taken(reader: FrameReader): Generator<Frame> {
  for (let next = reader.take(); next !== undefined; next = reader.take()) yield next;
}

describe('frames', () => {
  it('come out as they went in, however they were cut', () => {
    const sent = fc.array(fc.tuple(fc.constantFrom(...Object.values(FromMachine)), bytes(30)), { maxLength: 8 });
    fc.assert(
      fc.property(sent, fc.integer({ min: 1, max: 12 }), (frames, step) => {
        const all = Buffer.concat(frames.map(([type, payload]) => frame(type, payload)));
        const reader = new FrameReader(FromMachine);
        const found: [number, Buffer][] = [];
        for (let at = 0; at < all.length; at += step) {
          reader.push(all.subarray(at, at + step));
          for (const { type, payload } of taken(reader)) found.push([type, payload]);
        }
        expect(found).toEqual(frames);
      }),
    );
  });

  it('are as many as a text needs', () => {
    const text = Buffer.alloc(2 * mostPayload + 1, 'x');
    const reader = new FrameReader(ToMachine);
    reader.push(Buffer.concat(framesOf(ToMachine.input, text)));
    const payloads = [...taken(reader)].map(({ payload }) => payload);
    expect(payloads.map(({ length }) => length)).toEqual([mostPayload, mostPayload, 1]);
    expect(Buffer.concat(payloads)).toEqual(text);
    expect(framesOf(ToMachine.input, Buffer.alloc(0))).toEqual([]);
  });

  it.each([
    ['of another type', Buffer.from([9])],
    ['of the other direction', Buffer.from([FromMachine.end, 0, 0, 0, 0])],
    ['that is too long', Buffer.from([ToMachine.input, 0, 1, 0, 1])],
    ['that is absurd', Buffer.from([ToMachine.input, 0xff, 0xff, 0xff, 0xff])],
  ])('end with one %s', (_what, header) => {
    const reader = new FrameReader(ToMachine);
    reader.push(header);
    expect(() => reader.take()).toThrow(RangeError);
  });

  it('are frames or a RangeError, whatever comes', () => {
    const header = fc.tuple(fc.constantFrom(1, 2), fc.constant(0), fc.constant(0), fc.constant(0), fc.nat(20));
    const stream = fc.array(fc.oneof(bytes(20), header.map(Buffer.from)), { maxLength: 20 });
    fc.assert(
      fc.property(stream, (chunks) => {
        const reader = new FrameReader(ToMachine);
        try {
          for (const chunk of chunks) {
            reader.push(chunk as Buffer);
            for (const { type, payload } of taken(reader)) {
              expect([1, 2]).toContain(type);
              expect(payload.length).toBeLessThanOrEqual(mostPayload);
            }
          }
        } catch (error) {
          if (!(error instanceof RangeError)) throw error;
        }
      }),
    );
  });
});

it('a queue of bytes gives back what was put into it', () => {
  const queue = new ByteQueue();
  fc.assert(
    fc.property(fc.array(bytes(9000), { maxLength: 6 }), (chunks) => {
      const all = Buffer.concat(chunks);
      for (const chunk of chunks) queue.push(chunk);
      expect(queue.length).toBe(all.length);
      expect(queue.take()).toEqual(all);
      expect(queue.length).toBe(0);
      expect(queue.take()).toEqual(Buffer.alloc(0));
    }),
    { numRuns: 30 },
  );
});

describe('the tail of a console', () => {
  const size = 64 * 1024;
  const tailOf = (...chunks: Buffer[]): Buffer => {
    const tail = new ConsoleTail();
    for (const chunk of chunks) tail.add(chunk);
    return tail.read();
  };

  it('is all there was, up to its size', () => {
    expect(tailOf().length).toBe(0);
    expect(tailOf(Buffer.from('login: ')).toString()).toBe('login: ');
    const text = Buffer.alloc(size, 'x');
    expect(tailOf(text)).toEqual(text);
  });

  it('is the newest output from the beginning of a line on, however it came', () => {
    const lines = Buffer.from(Array.from({ length: 20_000 }, (_, i) => `line ${i}\n`).join(''));
    const newest = lines.subarray(-size);
    const expected = newest.subarray(newest.indexOf('\n') + 1);
    expect(tailOf(lines)).toEqual(expected);
    const cuts = fc.array(fc.integer({ min: 1, max: 2 * size }), { maxLength: 12 });
    fc.assert(
      fc.property(cuts, (lengths) => {
        const chunks: Buffer[] = [];
        let at = 0;
        for (const length of lengths) {
          chunks.push(lines.subarray(at, at + length));
          at += length;
        }
        expect(tailOf(...chunks, lines.subarray(at))).toEqual(expected);
      }),
      { numRuns: 50 },
    );
  });

  it.each([
    '\x1b[c',
    '\x1b[>0c',
    '\x1b[=c',
    '\x1b[5n',
    '\x1b[6n',
    '\x1b[?6n',
    '\x1b[18t',
    '\x1b[?2026$p',
    '\x1b[4$p',
    '\x1b[?u',
    '\x1b]11;?\x07',
    '\x1b]4;1;?\x1b\\',
    '\x1bP+q544e\x1b\\',
    '\x1bP$qm\x1b\\',
    '\x05',
  ])('asks no other terminal %j', (question) => {
    expect(tailOf(Buffer.from(`one${question}two`)).toString()).toBe('onetwo');
  });

  it('keeps what only shows something', () => {
    const text = '\x1b[31mred\x1b[0m \x1b[2J\x1b[1;1H\x1b[?25l\x1b[u\x1b]0;title?\x07 ü';
    expect(tailOf(Buffer.from(text)).toString()).toBe(text);
  });
});
