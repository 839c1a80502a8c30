import { expect, test } from 'vitest';
import { BriefWrites } from '../../../src/host/brief-writes.js';
import { Operation, SlotTable } from '../../../src/host/engine-slots.js';
import { Sys } from '../../../src/host/system.js';
import { begin } from '../support/slots.js';

const ms = 1000;
const second = 1000 * ms;

/** Writes that take as long as a test says, and one slot with one of them. */
function setUp() {
  let now = 10 * second;
  let cost = 10;
  const calls: number[][] = [];
  const call = (words: Float64Array): number => {
    calls.push([...words]);
    now += cost;
    return 4096;
  };
  const brief = new BriefWrites(
    { stamp: (into, index) => void into.fill(now, index, index + 1), close: () => {} },
    call,
  );
  const table = new SlotTable(1);
  const slots = table.claim({ onCompletion: () => {} }, 1)!;
  /** Whether the engine's thread did it. */
  const write = (took: number): boolean => {
    cost = took;
    begin(slots, 0, Operation.briefWrite, 5, 0x1000, 4096, 8192);
    table.starts.shift();
    const done = brief.perform(table, 0);
    expect(table.operation[0]).toBe(done ? Operation.briefWrite : Operation.write);
    table.complete(0, 0);
    return done;
  };
  const pass = (time: number): void => {
    now += time;
  };
  return { brief, table, slots, calls, write, pass };
}

test('a quick write is done at once, alone or by vector', () => {
  const { brief, table, slots, calls, write } = setUp();
  expect(write(10)).toBe(true);
  expect(brief.result).toBe(4096);
  begin(slots, 0, Operation.briefWriteVector, 5, 0x2000, 3, 2 ** 40, 12_288);
  expect(brief.perform(table, 0)).toBe(true);
  expect(calls).toEqual([
    [Sys.pwrite64, 5, 0x1000, 4096, 8192, 0, 0],
    [Sys.pwritev2, 5, 0x2000, 3, 2 ** 40, 0, 0],
  ]);
});

test('after a slow one all are left to other threads for a while, each time for longer (T39)', () => {
  const { write, pass } = setUp();
  let rest = 250 * ms;
  for (let i = 0; i < 12; i++) {
    expect(write(200 * ms)).toBe(true);
    pass(rest - 1);
    expect(write(10)).toBe(false);
    pass(1);
    rest = Math.min(rest * 2, 64 * second);
  }
});

test('once writes were quick for long enough, the next slow one costs the shortest rest', () => {
  const { write, pass } = setUp();
  for (const rest of [250, 500, 1000]) {
    write(200 * ms);
    pass(rest * ms);
  }
  expect(write(10)).toBe(true);
  pass(2 * second + 1);
  expect(write(10)).toBe(true);
  write(200 * ms);
  pass(250 * ms);
  expect(write(10)).toBe(true);
});
