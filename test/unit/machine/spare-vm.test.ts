import { afterEach, expect, test, vi } from 'vitest';
import { keepSpareVm, takeVm } from '../../../src/machine/spare-vm.js';

const made: { close: ReturnType<typeof vi.fn> }[] = [];
vi.mock('../../../src/kvm/vm.js', () => ({
  KvmVm: {
    create: () => {
      const vm = { close: vi.fn() };
      made.push(vm);
      return vm;
    },
  },
}));
const kvm = {} as never;
afterEach(() => {
  made.length = 0;
  vi.useRealTimers();
});

test('a machine is made when it is wanted, where nobody keeps one', () => {
  const vm = takeVm(kvm);
  expect(made).toEqual([vm]);
});

test('one is kept for whoever comes, and another is made when it has been taken', () => {
  vi.useFakeTimers();
  const release = keepSpareVm(kvm);
  const also = keepSpareVm(kvm);
  expect(made).toHaveLength(1);
  expect(takeVm(kvm)).toBe(made[0]);
  expect(takeVm(kvm)).toBe(made[1]); // at once
  vi.runAllTimers();
  expect(made).toHaveLength(3);
  release();
  release();
  expect(made[2]!.close).not.toHaveBeenCalled();
  also();
  expect(made[2]!.close).toHaveBeenCalledTimes(1);
  expect(made[0]!.close).not.toHaveBeenCalled(); // its machine's
});

test('none is made for nobody', () => {
  vi.useFakeTimers();
  const release = keepSpareVm(kvm);
  takeVm(kvm);
  release();
  vi.runAllTimers();
  expect(made).toHaveLength(1);
});
