import { describe, expect, test } from 'vitest';
import { featureWords, hasFeature, isSubset } from '../../../../src/virtio/features.js';
import { Lifecycle } from '../../../../src/virtio/registers.js';
import { refusal, Status } from '../../../../src/virtio/status.js';
import { activate, isQuiet, isResetting, isServed, stopDataPath } from '../../../../src/virtio/transport/lifecycle.js';
import { explore } from './interleave.js';
import { makeTarget } from './mock-device.js';

describe('lifecycle', () => {
  test('starts only from rest, stops from both running states, once', () => {
    const { state } = makeTarget();
    expect(stopDataPath(state)).toBe(false);
    expect(activate(state)).toBe(true);
    expect(activate(state)).toBe(false);
    expect([isServed(state), isQuiet(state)]).toEqual([true, false]);
    expect(stopDataPath(state)).toBe(true);
    expect([isResetting(state), isServed(state)]).toEqual([true, false]);
    expect(stopDataPath(state)).toBe(true);
    expect(isResetting(state)).toBe(true);
    expect(activate(state)).toBe(false);
  });

  test('a reset request and a data path that is just starting: the request is never lost', () => {
    explore(() => {
      const { state } = makeTarget();
      state.device.lifecycle[0] = Lifecycle.activating;
      let asked = false;
      return {
        threads: [
          () => Atomics.compareExchange(state.device.lifecycle, 0, Lifecycle.activating, Lifecycle.active),
          () => {
            asked = stopDataPath(state);
          },
        ],
        snapshot: () => [state.device.lifecycle[0]],
        check: () => {
          expect(asked).toBe(true);
          expect(state.device.lifecycle[0]).toBe(Lifecycle.resetting);
        },
      };
    });
  });
});

describe('status steps', () => {
  test('every pair of values: forward over known bits in order, or refused', () => {
    const order = [Status.acknowledge, Status.driver, Status.featuresOk, Status.driverOk];
    const known = 0x8f;
    for (let from = 0; from < 0x100; from++) {
      if (order.some((bit, i) => i > 0 && (from & bit) !== 0 && (from & order[i - 1]!) === 0) || (from & ~known) !== 0)
        continue; // not reachable
      for (let to = 1; to < 0x100; to++) {
        const keeps = (from & ~to) === 0;
        const inOrder = order.every((bit, i) => i === 0 || (to & bit) === 0 || (to & order[i - 1]!) !== 0);
        const noReserved = (to & ~(known | Status.needsReset)) === 0;
        expect(refusal(from, to) === undefined).toBe(keeps && inOrder && noReserved);
      }
    }
  });
});

describe('feature sets', () => {
  test('two words, unsigned, bit 31 and bit 63 too', () => {
    expect(featureWords([0, 31, 32, 63])).toEqual([0x8000_0001, 0x8000_0001]);
    expect(hasFeature([0, 0x8000_0000], 63)).toBe(true);
    expect(hasFeature([0x8000_0000, 0], 63)).toBe(false);
    expect(isSubset([0x8000_0000, 1], [0xffff_ffff, 1])).toBe(true);
    expect(isSubset([0x8000_0000, 2], [0xffff_ffff, 1])).toBe(false);
    expect(() => featureWords([64])).toThrow(RangeError);
  });
});
