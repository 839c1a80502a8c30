import fc from 'fast-check';
import { expect, test } from 'vitest';
import { History, historyBytes, inPlace, lost, unitBytes, unitsOf } from '../../../src/disk/history.js';

const units = 70; // more than two words
const size = units * unitBytes - 512;
const slots = 4;

type Step =
  | { readonly do: 'begin' | 'retire' }
  | { readonly do: 'lose'; readonly errno: number }
  | { readonly do: 'keep'; readonly unit: number; readonly count: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  fc.record({ do: fc.constantFrom('begin', 'begin', 'retire') }),
  fc.record({ do: fc.constant('lose'), errno: fc.constantFrom(5, 28) }),
  fc.record({ do: fc.constant('keep'), unit: fc.nat(units - 1), count: fc.integer({ min: 1, max: 40 }) }),
);

interface Instant {
  readonly number: number;
  readonly store: number;
  readonly kept: Set<number>;
  loss: number;
}

test('a unit is in the store of the first instant from its own on that has it', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 40 }), (steps) => {
      const memory = new SharedArrayBuffer(historyBytes(size, slots));
      const open = { memory, slots, size };
      const history = new History(open);
      const reader = new History(open); // of another thread
      expect(history.units).toBe(unitsOf(size));
      const inUse: Instant[] = [];
      let stores = 100;
      for (const step of steps) {
        const newest = inUse.at(-1);
        switch (step.do) {
          case 'begin': {
            if (inUse.length === slots) break;
            const store = stores++;
            inUse.push({ number: history.begin(store, store % 2 === 0), store, kept: new Set(), loss: 0 });
            break;
          }
          case 'retire': {
            if (inUse.length < 2) break;
            history.clear(inUse.shift()!.number);
            break;
          }
          case 'lose':
            if (newest === undefined || !history.keeps) break;
            history.lose(step.errno);
            newest.loss = step.errno;
            break;
          case 'keep': {
            if (newest === undefined || !history.keeps) break;
            const end = Math.min(step.unit + step.count, units);
            history.kept(step.unit, end);
            for (let unit = step.unit; unit < end; unit++) newest.kept.add(unit);
            break;
          }
        }
        const last = inUse.at(-1);
        if (last === undefined) {
          expect(history.keeps).toBe(false);
          continue;
        }
        expect([history.newest, history.store, history.writesBriefly]).toEqual([
          last.number,
          last.store,
          last.store % 2 === 0,
        ]);
        expect(history.keeps).toBe(last.loss === 0);
        expect(history.isUntouched).toBe(last.loss === 0 && last.kept.size === 0);
        inUse.forEach(({ number }, index) => {
          const later = inUse.slice(index);
          expect(reader.lossOf(number)).toBe(later.find(({ loss }) => loss !== 0)?.loss ?? 0);
          for (let unit = 0; unit < units; unit++) {
            const found = later.find(({ kept, loss }) => kept.has(unit) || loss !== 0);
            const expected = found === undefined ? inPlace : found.kept.has(unit) ? found.store : lost;
            expect(reader.find(number, unit)).toBe(expected);
          }
        });
        for (let unit = 0; unit < units; unit += 7) expect(history.hasKept(unit)).toBe(last.kept.has(unit));
      }
      history.rest();
      expect(history.keeps).toBe(false);
    }),
  );
});
