import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { AccessSize } from '../../../../src/bus/bus.js';
import type { TopologyTask } from '../../../../src/devices/wires.js';
import {
  controlWord,
  type InterruptTarget,
  isStale,
  MsixControl,
  raiseVector,
} from '../../../../src/virtio/interrupt.js';
import { MessageControl, Msix, markRouted } from '../../../../src/virtio/transport/msix.js';
import { msiRoutes } from '../../../../src/virtio/transport/routes.js';
import { MockWires } from '../../devices/mock-wires.js';
import { explore, step } from './interleave.js';
import { makeTarget, shape, sharedWords, vectorFd } from './mock-device.js';

const entry = (vector: number): { low: number; high: number; data: number; control: number } => ({
  low: vector * 16,
  high: vector * 16 + 4,
  data: vector * 16 + 8,
  control: vector * 16 + 12,
});
const ADDRESS = 0xfee0_1000;

function make(of = shape()) {
  const wires = new MockWires();
  const target = makeTarget(of);
  /** Every routing table that the kernel was given. */
  const tables: ReturnType<typeof msiRoutes>[] = [];
  const msix = new Msix(target.state, target.descriptors, wires, () => tables.push(msiRoutes([target])));
  target.state.device.busMaster[0] = 1;
  for (let vector = 0; vector < 3; vector++) target.state.msixTable[controlWord(vector)] = 1;
  const program = (vector: number, data: number): void => {
    msix.writeTable(entry(vector).low, 4, ADDRESS);
    msix.writeTable(entry(vector).high, 4, 0);
    msix.writeTable(entry(vector).data, 4, data);
  };
  const mask = (vector: number, on: boolean): void => msix.writeTable(entry(vector).control, 4, on ? 1 : 0);
  const enable = (control: number = MessageControl.enabled): boolean => msix.setControl(control);
  const raise = (vector: number): number => raiseVector(target.state, target.descriptors, vector);
  return { wires, target, tables, msix, program, mask, enable, raise };
}

describe('table and pending bits', () => {
  test('words read back, vector control shows one bit', () => {
    const { msix, program, mask } = make();
    program(1, 0x4041);
    expect(msix.readTable(entry(1).low, 4)).toBe(ADDRESS);
    expect(msix.readTable(entry(1).data, 4)).toBe(0x4041);
    expect(msix.readTable(entry(1).data + 1, 1)).toBe(0x40);
    expect(msix.readTable(entry(1).control, 4)).toBe(1);
    mask(1, false);
    expect(msix.readTable(entry(1).control, 4)).toBe(0);
    msix.writeTable(entry(1).control, 4, 0xffff_ffff);
    expect(msix.readTable(entry(1).control, 4)).toBe(1);
  });

  test('T20: beyond the end: all ones, writes nowhere; partial writes are refused', () => {
    const { msix, target, wires } = make();
    const before = [...target.state.msixTable];
    for (const [offset, size] of [
      [48, 4],
      [0xff0, 4],
      [1, 4],
      [2, 4],
      [0, 2],
      [4, 1],
      [46, 4],
    ] as const) {
      msix.writeTable(offset, size, 0);
    }
    expect([...target.state.msixTable]).toEqual(before);
    expect(wires.warnings).toHaveLength(7);
    expect(msix.readTable(48, 4)).toBe(0xffff_ffff);
    expect(msix.readTable(2, 4)).toBe(0xffff_ffff);
    expect(msix.readPending(8, 4)).toBe(0xffff_ffff);
    expect(msix.readPending(0, 4)).toBe(0);
  });
});

describe('routes', () => {
  test('only an unmask of a changed entry rewrites them, after the lock', () => {
    const { wires, tables, program, mask, enable } = make();
    enable();
    program(1, 0x41);
    expect(wires.tasks).toHaveLength(0);
    mask(1, false);
    expect(tables).toHaveLength(0);
    wires.runTasks();
    expect(tables).toEqual([[{ gsi: 25, addressLow: ADDRESS, addressHigh: 0, data: 0x41 }]]);
    mask(1, true);
    program(1, 0x41); // the same again, as Linux does
    mask(1, false);
    expect(wires.tasks).toHaveLength(0);
    mask(1, true);
    program(1, 0x42);
    mask(1, false);
    wires.runTasks();
    expect(tables.at(-1)).toEqual([{ gsi: 25, addressLow: ADDRESS, addressHigh: 0, data: 0x42 }]);
  });

  test('entries unmasked before MSI-X is enabled are routed when it is', () => {
    const { wires, tables, program, mask, enable, raise } = make();
    program(0, 0x30);
    mask(0, false);
    expect(wires.tasks).toHaveLength(0);
    expect(enable()).toBe(true);
    wires.runTasks();
    expect(tables).toHaveLength(1);
    expect(raise(0)).toBe(vectorFd);
    expect(enable()).toBe(false);
    expect(enable(0)).toBe(true);
  });

  test('a message for anything but a local APIC has no route and cannot upset the kernel', () => {
    const { target, program, msix } = make();
    program(0, 1);
    for (const [low, high] of [
      [0x1000, 0],
      [0xfee0_0000, 1],
      [0xfef0_0000, 0],
      [0, 0],
    ] as const) {
      msix.writeTable(entry(0).low, 4, low);
      msix.writeTable(entry(0).high, 4, high);
      expect(msiRoutes([target])).toEqual([]);
    }
    msix.writeTable(entry(0).low, 4, 0xfeef_f00c);
    msix.writeTable(entry(0).high, 4, 0xffff_ff00);
    expect(msiRoutes([target])).toHaveLength(1);
  });

  test('the counts of changes may wrap', () => {
    const { target, program, mask, enable, wires, raise } = make();
    enable();
    for (let i = 0; i < 40_000; i++) program(1, i);
    mask(1, false);
    wires.runTasks();
    expect(isStale(target.state.msixTable[controlWord(1)]!)).toBe(false);
    expect(raise(1)).toBe(vectorFd + 1);
    mask(1, true);
    program(1, 77);
    expect(isStale(target.state.msixTable[controlWord(1)]!)).toBe(true);
    expect(target.state.msixTable[controlWord(1)]! & 1).toBe(1);
  });
});

describe('pending messages go out', () => {
  const pending = () => {
    const made = make();
    made.enable();
    made.program(1, 0x41);
    made.mask(1, false);
    made.wires.runTasks();
    return made;
  };

  test('when the vector is unmasked', () => {
    const { mask, raise, wires, msix } = pending();
    mask(1, true);
    expect(raise(1)).toBe(-1);
    expect(msix.readPending(0, 4)).toBe(2);
    mask(1, false);
    expect(wires.rung).toEqual([vectorFd + 1]);
    expect(msix.readPending(0, 4)).toBe(0);
    mask(1, false);
    expect(wires.rung).toHaveLength(1);
  });

  test('when the function is unmasked, and when bus mastering comes back', () => {
    const { enable, raise, wires, msix, target } = pending();
    enable(MessageControl.enabled | MessageControl.masked);
    expect(target.state.device.msixControl[0]).toBe(MsixControl.enabled | MsixControl.masked);
    expect(raise(1)).toBe(-1);
    enable();
    expect(wires.rung).toEqual([vectorFd + 1]);
    target.state.device.busMaster[0] = 0;
    expect(raise(1)).toBe(-1);
    target.state.device.busMaster[0] = 1;
    msix.openAll();
    expect(wires.rung).toEqual([vectorFd + 1, vectorFd + 1]);
  });

  test('after the new route, when the entry was changed as well', () => {
    const { mask, raise, program, wires, tables } = pending();
    mask(1, true);
    raise(1);
    program(1, 0x55);
    mask(1, false);
    expect(wires.rung).toEqual([]);
    expect(raise(1)).toBe(-1); // still at the old route
    wires.runTasks();
    expect(tables.at(-1)![0]!.data).toBe(0x55);
    expect(wires.rung).toEqual([vectorFd + 1]);
  });
});

describe('in every order of steps', () => {
  /** The kernel: what it routes vector 1 to, and the data of every message it delivered. */
  const scene = (setup: (made: ReturnType<typeof sceneParts>) => void) => {
    const parts = sceneParts();
    setup(parts);
    return parts;
  };
  const sceneParts = () => {
    const target = makeTarget();
    const kernel = { route: -1, delivered: [] as number[] };
    const { state } = target;
    const wires = new MockWires();
    const tasks: TopologyTask[] = [];
    const deliver = (fd: number): void => {
      step(() => {
        if (fd === vectorFd + 1) kernel.delivered.push(kernel.route);
      });
    };
    /** Of one vCPU. The routing task runs after the register write, before its guest goes on. */
    const vcpu = (): { msix: Msix; runTasks: () => void } => {
      const mine: TopologyTask[] = [];
      const my = Object.assign(new MockWires(), {
        ring: deliver,
        afterwards: (task: TopologyTask) => {
          if (!mine.includes(task)) mine.push(task);
        },
      });
      const msix = new Msix(state, target.descriptors, my, () => {
        const data = Atomics.load(state.msixTable, 4 + 2);
        step(() => {
          kernel.route = data;
        });
      });
      return {
        msix,
        runTasks: () => {
          for (const task of mine) task.run(); // kept: a thread is run again from its start at each step
        },
      };
    };
    state.device.busMaster[0] = 1;
    state.device.msixControl[0] = MsixControl.enabled;
    const sender = (): void => {
      const fd = raiseVector(state, target.descriptors, 1);
      if (fd >= 0) deliver(fd);
    };
    const snapshot = (): unknown => [kernel, sharedWords(target)];
    return { target, state, kernel, wires, tasks, vcpu, sender, snapshot };
  };
  const control = controlWord(1);
  const open = ({ state, kernel }: ReturnType<typeof sceneParts>): void => {
    state.msixTable[4] = ADDRESS | 0;
    state.msixTable[6] = 0x41;
    kernel.route = 0x41;
  };
  const pending = (target: InterruptTarget): number => target.state.msixPending[0]!;

  test('raise and unmask: delivered once', () => {
    const states = explore(() => {
      const s = scene(open);
      s.state.msixTable[control] = 1;
      const unmask = (): void => {
        const { msix, runTasks } = s.vcpu();
        msix.writeTable(28, 4, 0);
        runTasks();
      };
      return {
        threads: [s.sender, unmask],
        snapshot: s.snapshot,
        check: () => {
          expect(s.kernel.delivered).toEqual([0x41]);
          expect(pending(s.target)).toBe(0);
        },
      };
    });
    expect(states).toBeGreaterThan(20);
  });

  test('raise, and unmask with a new message: delivered once, to the new address only', () => {
    explore(() => {
      const s = scene(open);
      s.state.msixTable[control] = 1;
      const retarget = (): void => {
        const { msix, runTasks } = s.vcpu();
        msix.writeTable(24, 4, 0x99);
        msix.writeTable(28, 4, 0);
        runTasks();
      };
      return {
        threads: [s.sender, retarget],
        snapshot: s.snapshot,
        check: () => {
          expect(s.kernel.delivered).toEqual([0x99]);
          expect(pending(s.target)).toBe(0);
        },
      };
    });
  });

  test('raise, and mask, retarget, unmask of an open vector: delivered once, old address or new', () => {
    explore(() => {
      const s = scene(open);
      const retarget = (): void => {
        const { msix, runTasks } = s.vcpu();
        for (const [at, value] of [
          [28, 1],
          [24, 0x99],
          [28, 0],
        ] as const) {
          msix.writeTable(at, 4, value);
          runTasks();
        }
      };
      return {
        threads: [s.sender, retarget],
        snapshot: s.snapshot,
        check: () => {
          expect(s.kernel.delivered).toHaveLength(1);
          expect([0x41, 0x99]).toContain(s.kernel.delivered[0]);
          expect(pending(s.target)).toBe(0);
          expect(s.kernel.route).toBe(0x99);
        },
      };
    });
  });

  test('raise and function mask on and off, or bus mastering on: delivered once', () => {
    explore(() => {
      const s = scene(open);
      const toggle = (): void => {
        const { msix, runTasks } = s.vcpu();
        msix.setControl(MessageControl.enabled | MessageControl.masked);
        msix.setControl(MessageControl.enabled);
        runTasks();
      };
      return {
        threads: [s.sender, toggle],
        snapshot: s.snapshot,
        check: () => expect([s.kernel.delivered, pending(s.target)]).toEqual([[0x41], 0]),
      };
    });
    explore(() => {
      const s = scene(open);
      s.state.device.busMaster[0] = 0;
      const master = (): void => {
        const { msix, runTasks } = s.vcpu();
        Atomics.store(s.state.device.busMaster, 0, 1);
        msix.openAll();
        runTasks();
      };
      return {
        threads: [s.sender, master],
        snapshot: s.snapshot,
        check: () => expect([s.kernel.delivered, pending(s.target)]).toEqual([[0x41], 0]),
      };
    });
  });

  test('two sends and an unmask: one or two deliveries, none lost', () => {
    explore(() => {
      const s = scene(open);
      s.state.msixTable[control] = 1;
      const unmask = (): void => s.vcpu().msix.writeTable(28, 4, 0);
      return {
        threads: [
          () => {
            s.sender();
            s.sender();
          },
          unmask,
        ],
        snapshot: s.snapshot,
        check: () => {
          expect(s.kernel.delivered.length).toBeGreaterThanOrEqual(1);
          expect(s.kernel.delivered.length).toBeLessThanOrEqual(2);
          expect(pending(s.target)).toBe(0);
        },
      };
    });
  });

  test("one vCPU's routing task while another retargets and opens the vector: the last message is routed", () => {
    explore(() => {
      const s = scene(open);
      s.state.msixTable[control] = 1;
      const first = s.vcpu();
      const second = s.vcpu();
      first.msix.writeTable(24, 4, 0x55);
      first.msix.writeTable(28, 4, 0);
      // The topology lock keeps tasks apart: the second's runs when both are done with the rest.
      const task = (): void => first.runTasks();
      const other = (): void => {
        second.msix.writeTable(28, 4, 1);
        second.msix.writeTable(24, 4, 0x66);
        second.msix.writeTable(28, 4, 0);
      };
      return {
        threads: [task, other],
        snapshot: s.snapshot,
        check: () => {
          second.runTasks();
          expect(s.kernel.route).toBe(0x66);
          expect(isStale(s.state.msixTable[control]!)).toBe(false);
          s.sender();
          expect(s.kernel.delivered).toEqual([0x66]);
        },
      };
    });
  });

  test('marking a route keeps a mask and a change that arrive meanwhile', () => {
    explore(() => {
      const { target } = sceneParts();
      const table = target.state.msixTable;
      table[control] = 0x0003_0000;
      return {
        threads: [
          () => markRouted(table, 1, 3),
          () => {
            Atomics.or(table, control, 1);
            Atomics.add(table, control, 0x1_0000);
          },
        ],
        snapshot: () => [...table],
        check: () => expect(table[control]).toBe(0x0004_0001 | (3 << 1)),
      };
    });
  });
});

test('hostile drivers: any table access, control and task order leaves no message behind an open vector', () => {
  const action = fc.oneof(
    fc.record({
      kind: fc.constant('write'),
      offset: fc.nat(60),
      size: fc.constantFrom<AccessSize>(1, 2, 4),
      value: fc.nat(0xffff_ffff),
    }),
    fc.record({
      kind: fc.constant('control'),
      offset: fc.nat(2),
      size: fc.constant<AccessSize>(4),
      value: fc.constantFrom(0, 1),
    }),
    fc.record({
      kind: fc.constant('message'),
      offset: fc.constant(0),
      size: fc.constant<AccessSize>(4),
      value: fc.nat(0xffff),
    }),
    fc.record({
      kind: fc.constantFrom('raise', 'tasks'),
      offset: fc.nat(4),
      size: fc.constant<AccessSize>(4),
      value: fc.nat(),
    }),
  );
  fc.assert(
    fc.property(fc.array(action, { maxLength: 80 }), (actions) => {
      const { msix, mask, enable, raise, wires, target } = make();
      for (const { kind, offset, size, value } of actions) {
        if (kind === 'write') msix.writeTable(offset, size, value);
        else if (kind === 'control') mask(offset, value === 1);
        else if (kind === 'message') enable(value);
        else if (kind === 'raise') raise(offset);
        else wires.runTasks();
        expect(msix.readTable(offset, size)).toBeLessThan(2 ** (8 * size));
        if (wires.tasks.length > 0 || target.state.device.msixControl[0] !== MsixControl.enabled) continue;
        for (let vector = 0; vector < 3; vector++) {
          const word = target.state.msixTable[controlWord(vector)]!;
          if ((word & 1) === 0)
            expect([isStale(word), (target.state.msixPending[0]! >>> vector) & 1]).toEqual([false, 0]);
        }
      }
    }),
  );
});
