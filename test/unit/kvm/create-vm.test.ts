import { expect, test, vi } from 'vitest';

const openFd = vi.fn<() => number>();
vi.mock('../../../src/host/addon.js', () => ({ native: () => ({ openFd }) }));
const { Errno } = await import('../../../src/host/errno.js');
const { KvmVm } = await import('../../../src/kvm/vm.js');
const kvm = { fd: 3 } as Parameters<InstanceType<typeof KvmVm>['create']>[0];

test('a signal while a machine is created, such as those of a profiler, only delays it', () => {
  openFd.mockReturnValueOnce(-Errno.EINTR).mockReturnValueOnce(-Errno.EINTR).mockReturnValueOnce(7);
  expect(new KvmVm().create(kvm).fd).toBe(7);
});

test('any other failure is told', () => {
  openFd.mockReturnValueOnce(-Errno.ENOMEM);
  expect(() => new KvmVm().create(kvm)).toThrow('KVM_CREATE_VM failed: ENOMEM');
});
