/** A KVM machine is made by libuv's pool or by main, whoever comes first, and what there is is closed. */
import { beforeEach, expect, test, vi } from 'vitest';

const shim = {
  makeLater: vi.fn<(parent: number, calls: readonly unknown[], words: Int32Array) => Promise<void>>(),
  takeBack: vi.fn<() => number>(),
  openFd: vi.fn<(...words: unknown[]) => number>(),
  ioctl: vi.fn<(fd: number, request: number, argument: unknown) => number>(),
  closeFdLater: vi.fn<(fd: number) => Promise<void>>(async () => {}),
};
vi.mock('../../../src/host/addon.js', () => ({ native: () => shim }));
const { Errno } = await import('../../../src/host/errno.js');
const { Ioctl } = await import('../../../src/kvm/ioctls.js');
const { KvmVm } = await import('../../../src/kvm/vm.js');
const { machineCalls } = await import('../../../src/kvm/vm-making.js');
const kvm = { fd: 3 } as Parameters<InstanceType<typeof KvmVm>['begin']>[0];

const regions = [
  { start: 0, size: 0x10_0000, hostAddress: 0x7f00_0000_0000 },
  { start: 0x1_0000_0000, size: 0x20_0000, hostAddress: 0x7f00_0010_0000 },
];
const calls = machineCalls(0xfffb_d000, 0xfffb_c000, regions);
/** docs/decisions/0001-order-of-creation.md */
const order = [
  'KVM_SET_IDENTITY_MAP_ADDR',
  'KVM_SET_TSS_ADDR',
  'KVM_SET_USER_MEMORY_REGION',
  'KVM_SET_USER_MEMORY_REGION',
  'KVM_CREATE_IRQCHIP',
  'KVM_CREATE_PIT2',
] as const;
const begun = (): InstanceType<typeof KvmVm> => {
  const vm = new KvmVm();
  vm.begin(kvm, calls);
  return vm;
};
/** A pool that has begun, and what it does until its promise resolves. */
const pool = (makes: (words: Int32Array) => void): void => {
  shim.takeBack.mockReturnValue(0);
  shim.makeLater.mockImplementation(async (_parent, _calls, words) => {
    words.set([-1, -1, 0]);
    await new Promise((resolve) => setImmediate(resolve));
    makes(words);
  });
};
const busyPool = (): void => {
  shim.takeBack.mockReturnValueOnce(1).mockReturnValue(0);
  shim.makeLater.mockImplementation((_parent, _calls, words) => {
    words.set([-1, -1, 0]);
    return new Promise(() => {});
  });
};

beforeEach(() => {
  vi.clearAllMocks();
  shim.openFd.mockReturnValue(8);
  shim.ioctl.mockReset().mockReturnValue(0);
});

test('the pool is given all of it, in the order that costs least', async () => {
  pool((words) => words.set([7]));
  const vm = begun();
  await vm.made();
  const [parent, list] = shim.makeLater.mock.calls[0]!;
  expect([parent, list.length]).toEqual([3, 2 * (1 + order.length)]);
  expect(list.filter((_, i) => i % 2 === 0)).toEqual([Ioctl.KVM_CREATE_VM, ...order.map((name) => Ioctl[name])]);
  const second = list[9] as DataView;
  expect([0, 8, 16, 24].map((at) => Number(second.getBigUint64(at, true)))).toEqual([
    1, // slot 1, without flags
    regions[1]!.start,
    regions[1]!.size,
    regions[1]!.hostAddress,
  ]);
  expect(vm.fd).toBe(7);
  expect([shim.openFd.mock.calls.length, shim.ioctl.mock.calls.length]).toEqual([0, 0]);
  await vm.closeLater();
  expect(shim.closeFdLater.mock.calls).toEqual([[7]]);
});

test('a pool that is busy is not waited for, and makes nothing afterwards', async () => {
  busyPool();
  const vm = begun();
  await vm.made();
  expect(vm.fd).toBe(8);
  expect(shim.ioctl.mock.calls.map(([fd, request]) => [fd, request])).toEqual(order.map((name) => [8, Ioctl[name]]));
  expect(shim.takeBack).toHaveBeenCalledTimes(1);
  await vm.closeLater();
  expect(shim.closeFdLater.mock.calls).toEqual([[8]]);
});

test('a signal while main makes the calls only delays it', async () => {
  busyPool();
  shim.ioctl.mockReturnValueOnce(0).mockReturnValueOnce(-Errno.EINTR).mockReturnValueOnce(-Errno.EINTR);
  await begun().made();
  expect(shim.ioctl).toHaveBeenCalledTimes(order.length + 2);
});

test.each([1, 3, 5])('what the pool was refused is named, and what it had made is closed (call %i)', async (failed) => {
  pool((words) => words.set([7, failed, Errno.ENOMEM]));
  const vm = begun();
  await expect(vm.made()).rejects.toThrow(`${order[failed - 1]} failed: ENOMEM`);
  await vm.closeLater();
  expect(shim.closeFdLater.mock.calls).toEqual([[7]]);
});

test('no machine at all is named, too', async () => {
  pool((words) => words.set([-Errno.EMFILE]));
  const vm = begun();
  await expect(vm.made()).rejects.toThrow('KVM_CREATE_VM failed: EMFILE');
  await vm.closeLater();
  expect(shim.closeFdLater).not.toHaveBeenCalled();
});

test('a machine that is not wanted any more is closed when the pool has made it', async () => {
  pool((words) => words.set([7]));
  const vm = begun();
  await vm.closeLater();
  expect(shim.closeFdLater.mock.calls).toEqual([[7]]);
});

test('a machine that nobody has begun and nobody wants is none', async () => {
  busyPool();
  const vm = begun();
  await vm.closeLater();
  expect(shim.closeFdLater).not.toHaveBeenCalled();
  expect(shim.takeBack).toHaveBeenCalledTimes(1);
});
