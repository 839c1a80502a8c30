import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { GuestMemory } from '../../../../src/memory/guest-memory.js';
import { Pop, SplitQueue } from '../../../../src/virtio/queue/split-queue.js';
import { Violation } from '../../../../src/virtio/queue/violation.js';
import { MockDriver, type MockDriverOptions, readable, writable } from '../../support/mock-driver.js';
import { fakeRam } from '../../support/test-ram.js';

const ramSize = 0x4_0000;

function setUp(options: MockDriverOptions & { indirect?: boolean; maxChain?: number } = {}) {
  const ram = fakeRam(ramSize);
  const driver = new MockDriver(ram, options);
  const queue = open(driver, options);
  return { ram, driver, queue };
}

function open(
  driver: MockDriver,
  options: MockDriverOptions & { indirect?: boolean; maxChain?: number } = {},
): SplitQueue {
  const queue = SplitQueue.open(driver.registers, driver.ram.memory, {
    indirect: options.indirect ?? true,
    eventIndex: options.eventIndex ?? false,
    maxChain: options.maxChain ?? 64,
  });
  if (typeof queue === 'string') throw new Error(queue);
  return queue;
}

/** What is in the queue's chain, as the driver described it. */
const buffersOf = ({ chain }: SplitQueue) =>
  Array.from({ length: chain.count }, (_, i) => ({
    address: chain.guest[i]!,
    length: chain.length[i]!,
    writable: i >= chain.readableCount,
  }));

describe('opening', () => {
  const wrong: [Violation, (registers: MockDriver['registers']) => void][] = [
    [Violation.queueSize, (r) => (r.frozenSize = 0)],
    [Violation.queueSize, (r) => (r.frozenSize = 7)],
    [Violation.queueSize, (r) => (r.frozenSize = 128)],
    [Violation.ringAlignment, (r) => (r.frozenDescLow += 8)],
    [Violation.ringAlignment, (r) => (r.frozenDriverLow += 1)],
    [Violation.ringAlignment, (r) => (r.frozenDeviceLow += 2)],
    [Violation.ringAddress, (r) => (r.frozenDescLow = ramSize)],
    [Violation.ringAddress, (r) => (r.frozenDriverLow = ramSize - 16)],
    [Violation.ringAddress, (r) => (r.frozenDeviceHigh = 1)],
    [Violation.ringAddress, (r) => (r.frozenDeviceHigh = 0xffff_ffff)],
  ];
  test.each(wrong)('%s', (violation, spoil) => {
    const driver = new MockDriver(fakeRam(ramSize));
    spoil(driver.registers);
    expect(
      SplitQueue.open(driver.registers, driver.ram.memory, { indirect: false, eventIndex: false, maxChain: 64 }),
    ).toBe(violation);
  });

  test('rings that end with RAM are in RAM', () => {
    const ram = fakeRam(0x2000);
    const driver = new MockDriver(ram, { size: 8 });
    driver.registers.frozenDeviceLow = 0x2000 - 72; // 6 + 8 * 8, rounded to the alignment
    expect(
      SplitQueue.open(driver.registers, ram.memory, { indirect: false, eventIndex: false, maxChain: 8 }),
    ).toBeInstanceOf(SplitQueue);
  });
});

describe('a driver that keeps the rules', () => {
  test('chains come in order, with their buffers, and go back with their lengths', () => {
    const { driver, queue } = setUp();
    const first = driver.offer([readable(16), writable(512), writable(1)]);
    const second = driver.offer([writable(64)]);
    expect(queue.pop()).toBe(Pop.chain);
    expect(queue.chain.head).toBe(first);
    expect(buffersOf(queue)).toEqual(driver.chains.get(first));
    expect([queue.chain.readableBytes, queue.chain.writableBytes]).toEqual([16, 513]);
    expect(queue.pop()).toBe(Pop.chain);
    expect(queue.chain.head).toBe(second);
    expect(queue.pop()).toBe(Pop.empty);
    queue.push(second, 64);
    queue.push(first, 1);
    expect(driver.collect()).toEqual([]);
    expect(queue.publish()).toBe(true);
    expect(driver.collect().map(({ head, length }) => [head, length])).toEqual([
      [second, 64],
      [first, 1],
    ]);
    expect(queue.inFlight).toBe(0);
  });

  test('an indirect table may follow direct descriptors; its write flag is ignored', () => {
    const { driver, queue } = setUp({ size: 4 });
    const head = driver.offer([readable(16), readable(5), writable(512), writable(1)], 1);
    const entry = driver.table + 16 * 1;
    driver.ram.bytes[entry + 12] = driver.ram.bytes[entry + 12]! | 2;
    expect(queue.pop()).toBe(Pop.chain);
    expect(buffersOf(queue)).toEqual(driver.chains.get(head));
  });

  test('an indirect table may be longer than the queue, up to the device limit', () => {
    const { driver, queue } = setUp({ size: 2, maxChain: 64 });
    const head = driver.offer(
      Array.from({ length: 64 }, () => writable(8)),
      0,
    );
    expect(queue.pop()).toBe(Pop.chain);
    expect(buffersOf(queue)).toEqual(driver.chains.get(head));
  });

  test('T2: buffers of length zero are skipped', () => {
    const { driver, queue } = setUp();
    driver.offer([readable(0), readable(4), writable(0), writable(4)]);
    expect(queue.pop()).toBe(Pop.chain);
    expect(buffersOf(queue).map(({ length }) => length)).toEqual([4, 4]);
  });

  test('indices wrap at 2^16', () => {
    const { driver, queue } = setUp({ size: 2, eventIndex: true, start: 0xfffd });
    for (let i = 0; i < 6; i++) {
      expect(queue.armDoorbell()).toBe(false);
      const head = driver.offer([writable(4)]);
      expect(driver.mustKick()).toBe(true);
      driver.wantInterrupt();
      expect(queue.pop()).toBe(Pop.chain);
      queue.push(head, 4);
      expect(queue.publish()).toBe(true);
      expect(driver.collect()).toHaveLength(1);
    }
    expect(driver.usedIndex).toBe(3);
  });

  test('positions survive in machine state: another queue goes on where this one was', () => {
    const { driver, queue } = setUp();
    for (let i = 0; i < 5; i++) driver.offer([writable(4)]);
    for (let i = 0; i < 3; i++) {
      queue.pop();
      queue.push(queue.chain.head, 4);
    }
    queue.publish();
    queue.armDoorbell();
    driver.collect();
    const next = open(driver);
    expect(next.pop()).toBe(Pop.chain);
    expect(next.chain.head).toBe(3);
    next.push(3, 4);
    next.publish();
    expect(driver.collect().map(({ head }) => head)).toEqual([3]);
  });
});

describe('notifications', () => {
  test('without the event index the flags say who wants what', () => {
    const { driver, queue } = setUp();
    queue.silenceDoorbell();
    driver.offer([writable(1)]);
    expect(driver.mustKick()).toBe(false);
    expect(queue.armDoorbell()).toBe(true); // one came meanwhile
    queue.pop();
    expect(queue.armDoorbell()).toBe(false);
    const second = driver.offer([writable(1)]);
    expect(driver.mustKick()).toBe(true);
    driver.refuseInterrupts();
    queue.push(queue.chain.head, 0);
    expect(queue.publish()).toBe(false);
    driver.wantInterrupt();
    queue.pop();
    queue.push(second, 0);
    expect(queue.publish()).toBe(true);
    expect(queue.publish()).toBe(false); // nothing new
  });

  test('with the event index both sides are told only when they asked', () => {
    const { driver, queue } = setUp({ eventIndex: true });
    expect(queue.armDoorbell()).toBe(false);
    driver.offer([writable(1)]);
    expect(driver.mustKick()).toBe(true);
    driver.offer([writable(1)]);
    expect(driver.mustKick()).toBe(false);
    queue.silenceDoorbell();
    expect(driver.ram.bytes[driver.used]).toBe(0); // the flags stay 0
    while (queue.pop() === Pop.chain) queue.push(queue.chain.head, 0);
    driver.wantInterrupt(3);
    expect(queue.publish()).toBe(true); // the first time says nothing about before: always
    driver.collect();
    driver.wantInterrupt(1); // at the second element from here
    for (const expected of [false, true, false]) {
      driver.offer([writable(1)]);
      queue.pop();
      queue.push(queue.chain.head, 0);
      expect(queue.publish()).toBe(expected);
    }
  });
});

describe('a driver that breaks the rules', () => {
  const NEXT = 1;
  const WRITE = 2;
  const INDIRECT = 4;
  const room = 0x8000;
  const wrong: [name: string, Violation, (driver: MockDriver) => void][] = [
    [
      'T1: a loop',
      Violation.loop,
      (d) => {
        d.describe(0, room, 4, NEXT, 1);
        d.describe(1, room, 4, NEXT, 0);
        d.publish(0);
      },
    ],
    [
      'T1: a loop of nothing',
      Violation.loop,
      (d) => {
        d.describe(0, room, 0, NEXT, 0);
        d.publish(0);
      },
    ],
    [
      'T7: next outside the table',
      Violation.descriptorIndex,
      (d) => {
        d.describe(0, room, 4, NEXT, 8);
        d.publish(0);
      },
    ],
    ['T7: a head outside the table', Violation.headIndex, (d) => d.publish(8)],
    [
      'T8: the same head twice',
      Violation.duplicateHead,
      (d) => {
        d.describe(0, room, 4, WRITE, 0);
        d.publish(0);
        d.publish(0);
      },
    ],
    ['T10: an index that jumps', Violation.availableJump, (d) => d.setAvailIndex(9)],
    ['T10: an index that goes back', Violation.availableJump, (d) => d.setAvailIndex(0xffff)],
    [
      'T3: a buffer past RAM',
      Violation.notRam,
      (d) => {
        d.describe(0, ramSize - 3, 4, 0, 0);
        d.publish(0);
      },
    ],
    [
      'T3: a buffer that wraps',
      Violation.notRam,
      (d) => {
        d.describe(0, 0xfff, 0xffff_ffff, 0, 0);
        d.publish(0);
      },
    ],
    [
      'T3: an address of 2^63',
      Violation.notRam,
      (d) => {
        d.describe(0, 2 ** 63, 4, 0, 0);
        d.publish(0);
      },
    ],
    [
      'readable after writable',
      Violation.order,
      (d) => {
        d.describe(0, room, 4, NEXT | WRITE, 1);
        d.describe(1, room, 4, 0, 0);
        d.publish(0);
      },
    ],
    [
      'indirect and next',
      Violation.indirectNext,
      (d) => {
        d.describe(0, room, 16, NEXT | INDIRECT, 1);
        d.publish(0);
      },
    ],
    [
      'T2: an empty table',
      Violation.indirectLength,
      (d) => {
        d.describe(0, room, 0, INDIRECT, 0);
        d.publish(0);
      },
    ],
    [
      'a table of 17 bytes',
      Violation.indirectLength,
      (d) => {
        d.describe(0, room, 17, INDIRECT, 0);
        d.publish(0);
      },
    ],
    [
      'a table that is too long',
      Violation.indirectLength,
      (d) => {
        d.describe(0, room, 65 * 16, INDIRECT, 0);
        d.publish(0);
      },
    ],
    [
      'a table outside RAM',
      Violation.notRam,
      (d) => {
        d.describe(0, ramSize - 8, 16, INDIRECT, 0);
        d.publish(0);
      },
    ],
    [
      'next outside an indirect table',
      Violation.descriptorIndex,
      (d) => {
        table(d, [room, 4, NEXT, 1]);
      },
    ],
    [
      'T1: a loop in an indirect table',
      Violation.loop,
      (d) => {
        table(d, [room, 4, NEXT, 1], [room, 4, NEXT, 0]);
      },
    ],
    [
      'a nested table',
      Violation.indirectNested,
      (d) => {
        table(d, [room, 16, INDIRECT, 0]);
      },
    ],
    [
      'a buffer of a table past RAM',
      Violation.notRam,
      (d) => {
        table(d, [ramSize, 4, 0, 0]);
      },
    ],
  ];

  /** An indirect table with these descriptors, in descriptor 0. */
  function table(driver: MockDriver, ...entries: [number, number, number, number][]): void {
    const at = 0x9000;
    const view = new DataView(driver.ram.bytes.buffer);
    entries.forEach(([address, length, flags, next], i) => {
      view.setBigUint64(at + 16 * i, BigInt(address), true);
      view.setUint32(at + 16 * i + 8, length, true);
      view.setUint16(at + 16 * i + 12, flags, true);
      view.setUint16(at + 16 * i + 14, next, true);
    });
    driver.describe(0, at, 16 * entries.length, INDIRECT, 0);
    driver.publish(0);
  }

  test.each(wrong)('%s', (_name, violation, spoil) => {
    const { driver, queue } = setUp();
    spoil(driver);
    let result = queue.pop();
    while (result === Pop.chain) result = queue.pop();
    expect(result).toBe(Pop.violation);
    expect(queue.violation).toBe(violation);
    // For ever: nothing more is taken before the reset.
    driver.setAvailIndex(1);
    expect(queue.pop()).toBe(Pop.violation);
  });

  test('T15: indirect descriptors that were not negotiated', () => {
    const { driver, queue } = setUp({ indirect: false });
    driver.offer([writable(4)], 0);
    expect(queue.pop()).toBe(Pop.violation);
    expect(queue.violation).toBe(Violation.indirectRefused);
  });

  test('T1: a chain with more buffers than the device takes', () => {
    const { driver, queue } = setUp({ size: 8, maxChain: 8 });
    driver.offer([...Array.from({ length: 4 }, () => readable(1)), ...Array.from({ length: 5 }, () => writable(1))], 4);
    expect(queue.pop()).toBe(Pop.violation);
    expect(queue.violation).toBe(Violation.tooLong);
  });

  test('T3: more than 2^32 bytes', () => {
    // 3 GiB of which only the start, where the rings are, is ever looked at.
    const { driver, ram } = setUp();
    const memory = new GuestMemory(
      [{ start: 0, size: 0xc000_0000, hostAddress: 0x7000_0000_0000 }],
      () => ram.bytes.buffer as ArrayBuffer,
    );
    const queue = SplitQueue.open(driver.registers, memory, {
      indirect: false,
      eventIndex: false,
      maxChain: 8,
    }) as SplitQueue;
    driver.describe(0, room, 0x8000_0000, NEXT, 1);
    driver.describe(1, room, 0x8000_0000, NEXT, 2);
    driver.describe(2, room, 1, 0, 0);
    driver.publish(0);
    expect(queue.pop()).toBe(Pop.violation);
    expect(queue.violation).toBe(Violation.tooManyBytes);
  });

  test('giving back what was not taken is our own mistake', () => {
    const { driver, queue } = setUp();
    driver.offer([writable(4)]);
    expect(() => queue.push(0, 0)).toThrow(/without having been taken/);
    queue.pop();
    queue.push(0, 0);
    expect(() => queue.push(0, 0)).toThrow(/without having been taken/);
  });

  test('whatever is in memory: no exception, an end, and only RAM', () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: 0x400, maxLength: 0x400 }),
        fc.boolean(),
        fc.boolean(),
        (junk, eventIndex, small) => {
          const { driver, queue, ram } = setUp({ eventIndex, maxChain: 16 });
          ram.bytes.set(junk, driver.table);
          // Random 64-bit addresses are hardly ever RAM: make them small in half of the runs.
          if (small) {
            for (let i = 0; i < 8; i++) ram.bytes.fill(0, driver.table + 16 * i + 2, driver.table + 16 * i + 8);
            for (let i = 0; i < 8; i++)
              ram.bytes[driver.table + 16 * i + 9] =
                ram.bytes[driver.table + 16 * i + 10] =
                ram.bytes[driver.table + 16 * i + 11] =
                  0;
            new DataView(ram.bytes.buffer).setUint16(driver.avail + 2, junk[0]! % 9, true);
          }
          for (let pops = 0; pops < 10; pops++) {
            if (queue.pop() !== Pop.chain) break;
            const { chain } = queue;
            expect(chain.count).toBeLessThanOrEqual(16);
            for (let i = 0; i < chain.count; i++) {
              expect(chain.guest[i]! + chain.length[i]!).toBeLessThanOrEqual(ramSize);
              expect(chain.host[i]).toBe(0x7000_0000_0000 + chain.guest[i]!);
            }
            queue.push(chain.head, 0);
            queue.publish();
          }
          expect(queue.inFlight).toBe(0);
        },
      ),
      { numRuns: 500 },
    );
  });
});

describe('against a model', () => {
  type Step =
    | { do: 'offer'; readable: number[]; writable: number[]; indirect: number }
    | { do: 'pop' }
    | { do: 'push'; which: number; length: number }
    | { do: 'publish' }
    | { do: 'collect' }
    | { do: 'want'; ahead: number };
  const lengths = fc.array(fc.integer({ min: 0, max: 40 }), { maxLength: 3 });
  const step: fc.Arbitrary<Step> = fc.oneof(
    fc.record({
      do: fc.constant('offer' as const),
      readable: lengths,
      writable: lengths,
      indirect: fc.integer({ min: 0, max: 7 }),
    }),
    fc.record({ do: fc.constant('pop' as const) }),
    fc.record({ do: fc.constant('push' as const), which: fc.nat(), length: fc.nat({ max: 1000 }) }),
    fc.record({ do: fc.constant('publish' as const) }),
    fc.record({ do: fc.constant('collect' as const) }),
    fc.record({ do: fc.constant('want' as const), ahead: fc.nat({ max: 4 }) }),
  );

  test('every chain arrives once, in order, and comes back once', () => {
    fc.assert(
      fc.property(
        fc.array(step, { maxLength: 120 }),
        fc.boolean(),
        fc.integer({ min: 0, max: 0xffff }),
        (steps, eventIndex, start) => {
          const ram = fakeRam(ramSize);
          const driver = new MockDriver(ram, { eventIndex, start });
          const offered: number[] = [];
          const taken: number[] = [];
          const pushed: { head: number; length: number }[] = [];
          let published: typeof pushed = [];
          const queue = open(driver, { eventIndex });
          let wanted: number | undefined; // the used element after which the driver wants an interrupt
          let total = 0;
          let told = false;
          for (const s of steps) {
            switch (s.do) {
              case 'offer': {
                const buffers = [...s.readable.map(readable), ...s.writable.map(writable)];
                if (buffers.length === 0 || driver.freeDescriptors < buffers.length) break;
                offered.push(driver.offer(buffers, s.indirect));
                break;
              }
              case 'pop':
                if (queue.pop() === Pop.chain) {
                  const head = offered.shift();
                  expect(queue.chain.head).toBe(head);
                  expect(buffersOf(queue)).toEqual(driver.chains.get(head!)!.filter(({ length }) => length > 0));
                  taken.push(head!);
                } else expect(offered).toEqual([]);
                break;
              case 'push':
                if (taken.length > 0) {
                  const [head] = taken.splice(s.which % taken.length, 1);
                  queue.push(head!, s.length);
                  pushed.push({ head: head!, length: s.length });
                }
                break;
              case 'publish': {
                const count = pushed.length;
                const interrupt = queue.publish();
                if (!eventIndex) expect(interrupt).toBe(count > 0);
                else if (count > 0 && told)
                  expect(interrupt).toBe(wanted !== undefined && wanted >= total && wanted < total + count);
                if (count > 0) told = true;
                total += count;
                published = published.concat(pushed.splice(0));
                break;
              }
              case 'collect':
                expect(driver.collect().map(({ head, length }) => ({ head, length }))).toEqual(published);
                published = [];
                break;
              case 'want':
                // Counted from what the driver has seen; an index that has passed wants nothing.
                driver.wantInterrupt(s.ahead);
                wanted = total - published.length + s.ahead;
                break;
            }
            expect(queue.inFlight).toBe(taken.length);
            expect(queue.violation).toBeUndefined();
          }
        },
      ),
      { numRuns: 300 },
    );
  });
});
