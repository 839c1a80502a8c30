import { beforeEach, describe, expect, test } from 'vitest';
import {
  changeConfig,
  controlWord,
  EdgeLine,
  type InterruptTarget,
  IntxLine,
  Isr,
  MsixControl,
  noVector,
  raiseConfig,
  raiseQueue,
  raiseVector,
  takePending,
  VectorControl,
} from '../../../../src/virtio/interrupt.js';
import { explore, step } from './interleave.js';
import { makeTarget, shape, sharedWords, vectorFd } from './mock-device.js';

const lines = new Map<number, number>();
const setLine = (gsi: number, level: 0 | 1): void => {
  lines.set(gsi, level);
};
const line = (): number => lines.get(17) ?? 0;

let target: InterruptTarget;
const isPending = (vector: number): boolean => ((target.state.msixPending[0]! >>> vector) & 1) === 1;
const useMsix = (): void => {
  target.state.device.msixControl[0] = MsixControl.enabled;
  target.state.device.busMaster[0] = 1;
  target.state.queues[0]!.vector = 1;
  target.state.queues[1]!.vector = noVector;
  target.state.device.configVector = 0;
};

beforeEach(() => {
  lines.clear();
  target = makeTarget(shape(), setLine);
});

describe('MSI-X, the sender', () => {
  test('an open vector gives its irqfd and leaves nothing pending', () => {
    useMsix();
    expect(raiseQueue(target, 0)).toBe(vectorFd + 1);
    expect(isPending(1)).toBe(false);
    expect(line()).toBe(0);
    expect(target.state.device.isr[0]).toBe(0);
  });

  test('T23: no vector, or one that does not exist, sends nothing', () => {
    useMsix();
    expect(raiseQueue(target, 1)).toBe(-1);
    for (const vector of [3, 2048, noVector]) expect(raiseVector(target.state, target.descriptors, vector)).toBe(-1);
    expect([...target.state.msixPending]).toEqual([0]);
  });

  test.each<[string, () => void]>([
    ['the vector is masked', () => Atomics.or(target.state.msixTable, controlWord(1), VectorControl.masked)],
    ['its route is stale', () => Atomics.add(target.state.msixTable, controlWord(1), VectorControl.change)],
    ['the function is masked', () => Atomics.or(target.state.device.msixControl, 0, MsixControl.masked)],
    ['bus mastering is off', () => Atomics.store(target.state.device.busMaster, 0, 0)],
  ])('stays pending while %s', (_, close) => {
    useMsix();
    close();
    expect(raiseQueue(target, 0)).toBe(-1);
    expect(raiseQueue(target, 0)).toBe(-1);
    expect(isPending(1)).toBe(true);
    Atomics.store(target.state.msixTable, controlWord(1), 0);
    useMsix();
    expect(takePending(target.state, target.descriptors, 1)).toBe(vectorFd + 1);
    expect(takePending(target.state, target.descriptors, 1)).toBe(-1);
  });

  test('a configuration change sets its ISR bit with MSI-X too', () => {
    useMsix();
    expect(raiseConfig(target)).toBe(vectorFd);
    expect(target.state.device.isr[0]).toBe(Isr.config);
    expect(line()).toBe(0);
  });

  test('more than 32 vectors', () => {
    target = makeTarget(shape({ queueSizes: new Array(70).fill(16) }), setLine);
    useMsix();
    target.state.queues[69]!.vector = 70;
    Atomics.store(target.state.msixTable, controlWord(70), VectorControl.masked);
    expect(raiseQueue(target, 69)).toBe(-1);
    expect([...target.state.msixPending]).toEqual([0, 0, 1 << 6]);
    Atomics.store(target.state.msixTable, controlWord(70), 0);
    expect(raiseQueue(target, 69)).toBe(vectorFd + 70);
  });
});

describe('INTx', () => {
  test('level until ISR is read, unless disabled', () => {
    expect(raiseQueue(target, 0)).toBe(-1);
    expect([target.state.device.isr[0], line()]).toEqual([Isr.queue, 1]);
    raiseConfig(target);
    expect(target.state.device.isr[0]).toBe(Isr.queue | Isr.config);
    Atomics.store(target.state.device.intxDisabled, 0, 1);
    target.line.settle();
    expect(line()).toBe(0);
    Atomics.store(target.state.device.intxDisabled, 0, 0);
    target.line.settle();
    expect(line()).toBe(1);
    Atomics.exchange(target.state.device.isr, 0, 0);
    target.line.settle();
    expect(line()).toBe(0);
  });

  test('a shared line stays up until its last device is acknowledged', () => {
    const other = makeTarget();
    const shared = new IntxLine(17, [target.state, other.state], setLine);
    raiseQueue({ ...target, line: shared }, 0);
    raiseQueue({ ...other, line: shared }, 0);
    Atomics.exchange(target.state.device.isr, 0, 0);
    shared.settle();
    expect(line()).toBe(1);
    Atomics.exchange(other.state.device.isr, 0, 0);
    shared.settle();
    expect(line()).toBe(0);
  });
});

describe('configuration changes by the host', () => {
  test('bytes, generation, and an interrupt only for a driver that is there', () => {
    expect(changeConfig(target, 20, Uint8Array.from([1, 2, 3, 4]))).toBe(-1);
    expect([...target.state.config.subarray(20)]).toEqual([1, 2, 3, 4]);
    expect(target.state.device.generation[0]).toBe(1);
    expect(line()).toBe(0);
    target.state.device.status = 0x0f;
    changeConfig(target, 0, Uint8Array.from([9]));
    expect(target.state.device.generation[0]).toBe(2);
    expect(line()).toBe(1);
    useMsix();
    expect(changeConfig(target, 0, Uint8Array.from([9]))).toBe(vectorFd);
  });

  test('outside the configuration is the caller mistake', () => {
    expect(() => changeConfig(target, 21, new Uint8Array(4))).toThrow(RangeError);
    expect(() => changeConfig(target, -1, new Uint8Array(1))).toThrow(RangeError);
  });
});

describe('INTx in every order of steps', () => {
  /** Two devices on one line; `level` is what the kernel was told last. */
  const make = () => {
    const kernel = { level: 0 };
    const set = (_: number, level: 0 | 1): void => {
      step(() => {
        kernel.level = level;
      });
    };
    const a = makeTarget();
    const b = makeTarget();
    const shared = new IntxLine(17, [a.state, b.state], set);
    const on = (t: InterruptTarget): InterruptTarget => ({ ...t, line: shared });
    const asks = (t: InterruptTarget): boolean =>
      t.state.device.isr[0] !== 0 && t.state.device.intxDisabled[0] === 0 && t.state.device.msixControl[0] === 0;
    const check = (): void => expect(kernel.level).toBe(asks(a) || asks(b) ? 1 : 0);
    const snapshot = (): unknown => [kernel, sharedWords(a), sharedWords(b)];
    return { kernel, a: on(a), b: on(b), check, snapshot };
  };
  const readIsr = (t: InterruptTarget): void => {
    Atomics.exchange(t.state.device.isr, 0, 0);
    t.line.settle();
  };

  test('one device raises while the driver acknowledges it', () => {
    const count = explore(() => {
      const { a, kernel, check, snapshot } = make();
      Atomics.store(a.state.device.isr, 0, 1);
      kernel.level = 1;
      return { threads: [() => raiseQueue(a, 0), () => readIsr(a)], check, snapshot };
    });
    expect(count).toBeGreaterThan(100);
  });

  test('one device raises while its neighbour is acknowledged', () => {
    explore(() => {
      const { a, b, kernel, check, snapshot } = make();
      Atomics.store(a.state.device.isr, 0, 1);
      kernel.level = 1;
      return { threads: [() => raiseQueue(b, 0), () => readIsr(a)], check, snapshot };
    });
  });

  test('a raise while the driver switches to MSI-X or disables INTx', () => {
    for (const word of ['msixControl', 'intxDisabled'] as const) {
      explore(() => {
        const { a, check, snapshot } = make();
        const change = (): void => {
          Atomics.store(a.state.device[word], 0, 1);
          a.line.settle();
        };
        return { threads: [() => raiseQueue(a, 0), change], check, snapshot };
      });
    }
  });
});

describe('edges of virtio-mmio in every order of steps', () => {
  test('what two threads publish is seen by a handler that reads, acknowledges and looks', () => {
    const count = explore(() => {
      const made = makeTarget();
      const t: InterruptTarget = { ...made, line: new EdgeLine(vectorFd) };
      const shared = { published: 0, config: 0, pulses: 0, handled: 0, seen: 0, seenConfig: 0 };
      /** One run of the handler for each pulse (Linux vm_interrupt). */
      const handle = (): void => {
        if (!step(() => shared.pulses > shared.handled)) return;
        step(() => shared.handled++);
        const status = Atomics.load(t.state.device.isr, 0);
        Atomics.and(t.state.device.isr, 0, ~status);
        step(() => {
          if ((status & Isr.queue) !== 0) shared.seen = shared.published;
          if ((status & Isr.config) !== 0) shared.seenConfig = shared.config;
        });
      };
      const pulse = (irqfd: number): void =>
        step(() => {
          if (irqfd === vectorFd) shared.pulses++;
        });
      const useBuffer = (): void => {
        step(() => shared.published++);
        pulse(raiseQueue(t, 0));
      };
      const change = (): void => {
        step(() => shared.config++);
        pulse(raiseConfig(t));
      };
      return {
        threads: [useBuffer, change, handle],
        snapshot: () => [shared, sharedWords(t)],
        check: () => {
          while (shared.pulses > shared.handled) handle();
          expect([shared.seen, shared.seenConfig]).toEqual([1, 1]);
        },
      };
    });
    expect(count).toBeGreaterThan(100);
  });
});
