import { expect, test, vi } from 'vitest';
import { KvmVm } from '../../../src/kvm/vm.js';
import { MachineControlMap } from '../../../src/memory/control.js';
import { VcpuWires } from '../../../src/threads/vcpu-wires.js';
import { WarningLimit } from '../../../src/threads/warning-limit.js';

let monotonic = 0;
vi.mock('../../../src/host/clock.js', () => ({ monotonicMs: () => monotonic }));

test('ten a second pass; the next that does says how many did not', () => {
  const limit = new WarningLimit();
  const pass = (count: number): number[] => Array.from({ length: count }, () => limit.pass());
  monotonic = 5000;
  expect(pass(12)).toEqual([...Array(10).fill(0), -1, -1]);
  monotonic = 5999;
  expect(pass(1)).toEqual([-1]);
  monotonic = 6000;
  expect(pass(2)).toEqual([3, 0]);
});

test('a vCPU goes on warning when the clock on the wall is set back', () => {
  const told: [string, number][] = [];
  const control = MachineControlMap.over(new SharedArrayBuffer(MachineControlMap.size), 0);
  const wires = new VcpuWires(new KvmVm(), control, { main: -1, io: -1 }, (_device, message, suppressed) => {
    told.push([message, suppressed]);
  });
  const wall = vi.spyOn(Date, 'now').mockReturnValue(2e12);
  monotonic = 10_000;
  for (let i = 0; i < 15; i++) wires.warn('pci', 'flood');
  wall.mockReturnValue(1e12);
  monotonic = 11_000;
  wires.warn('pci', 'later');
  wall.mockRestore();
  expect([told.length, told.at(-1)]).toEqual([11, ['later', 5]]);
});
