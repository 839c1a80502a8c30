/** The clocks of a machine: what is set of them, with a KVM that remembers what it was told. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { FakeKvm, FakeVcpu } from './fake-kvm.js';

let kvm: FakeKvm;
vi.mock('../../../src/host/addon.js', () => ({ native: () => kvm.native }));
const { decodeClock, encodeClock, loadClock, saveClock } = await import('../../../src/kvm/clock-save.js');
type ClockSave = ReturnType<typeof saveClock>;

const second = 1_000_000_000n;
const vm = 3;

/** A machine whose vCPUs have these offsets, with descriptors from `first` on. */
function machine(first: number, offsets: readonly bigint[]): number[] {
  return offsets.map((offset, cpu) => {
    const vcpu = new FakeVcpu();
    vcpu.tscOffset = offset;
    kvm.vcpus.set(first + cpu, vcpu);
    return first + cpu;
  });
}
const tscs = (fds: readonly number[]): bigint[] => fds.map((fd) => kvm.tsc(fd));

beforeEach(() => {
  kvm = new FakeKvm();
});

describe.each([true, false])('with an attribute for the offset: %s', (hasOffset) => {
  beforeEach(() => {
    kvm.hasOffset = hasOffset;
  });

  test('keep: every clock goes on from where it was, and TSCs that differed differ as much', () => {
    const then = machine(10, [-500n, -500n, 77n]);
    kvm.clockNs = 5n * second;
    const save = saveClock(vm, then);
    const values = tscs(then);
    kvm.pass(60n * second);
    const now = machine(20, [0n, 0n, 0n]);
    expect(loadClock(vm, now, save, 'keep')).toBe(0);
    expect(kvm.clockNs).toBe(5n * second);
    expect(tscs(now)).toEqual(values);
  });

  test('catch-up: what has passed on the wall has passed on every clock', () => {
    const then = machine(10, [-500n, 12n]);
    kvm.clockNs = 5n * second;
    const save = saveClock(vm, then);
    const values = tscs(then);
    kvm.pass(3n * second);
    const now = machine(20, [0n, 0n]);
    expect(loadClock(vm, now, save, 'catch-up')).toBe(3e9);
    expect(kvm.clockNs).toBe(8n * second);
    expect(tscs(now)).toEqual(values.map((value) => value + 6_000_000_000n)); // 2 GHz
  });

  test('elsewhere, where the host has run for another time: the wall clock says how long it was', () => {
    const save = saveClock(vm, machine(10, [100n]));
    const value = kvm.tsc(10);
    kvm.realtimeNs += 10n * second;
    kvm.hostTsc = 42n;
    kvm.clockNs = 1n;
    const now = machine(20, [-7n]);
    loadClock(vm, now, save, 'catch-up');
    expect(tscs(now)).toEqual([value + 20_000_000_000n]);
  });

  test.each(['keep', 'catch-up'] as const)('%s: a wall clock that was set back moves no guest back', (policy) => {
    const then = machine(10, [-500n]);
    kvm.clockNs = second;
    const save = saveClock(vm, then);
    const [value] = tscs(then);
    kvm.realtimeNs -= 3600n * second;
    const now = machine(20, [0n]);
    expect(loadClock(vm, now, save, policy)).toBe(0);
    expect(kvm.clockNs).toBe(second);
    expect(tscs(now)).toEqual([value]);
  });

  test('whatever has passed, no clock goes back and all of them by the same', () => {
    const offset = fc.bigInt({ min: -(2n ** 62n), max: 2n ** 40n });
    fc.assert(
      fc.property(
        fc.array(offset, { minLength: 1, maxLength: 4 }),
        fc.bigInt({ min: -(2n ** 60n), max: 2n ** 60n }),
        fc.bigInt({ min: 0n, max: 2n ** 62n }),
        fc.constantFrom('keep', 'catch-up'),
        (offsets, passed, hostTsc, policy) => {
          const then = machine(10, offsets);
          const save = saveClock(vm, then);
          const values = tscs(then);
          const { clockNs } = kvm;
          kvm.realtimeNs += passed;
          kvm.hostTsc = hostTsc;
          const now = machine(
            20,
            offsets.map(() => 0n),
          );
          const elapsed = policy === 'keep' || passed < 0n ? 0n : passed;
          expect(loadClock(vm, now, save, policy)).toBe(Number(elapsed));
          expect(BigInt.asUintN(64, kvm.clockNs - clockNs)).toBe(elapsed); // it goes round
          expect(tscs(now)).toEqual(values.map((value) => BigInt.asUintN(64, value + elapsed * 2n)));
        },
      ),
    );
  });
});

test('where the offsets of only one side are known the values are set', () => {
  const then = machine(10, [-500n, 9n]);
  const values = tscs(then);
  const save = saveClock(vm, then);
  kvm.hasOffset = false;
  const now = machine(20, [1n, 2n]);
  kvm.calls.length = 0;
  loadClock(vm, now, save, 'keep');
  expect(tscs(now)).toEqual(values);
  expect(kvm.calls).not.toContain('20 KVM_SET_DEVICE_ATTR');
  expect(kvm.calls.filter((call) => call.endsWith('KVM_SET_MSRS'))).toEqual(['20 KVM_SET_MSRS', '21 KVM_SET_MSRS']);

  kvm.hasOffset = false;
  const older = saveClock(vm, now);
  kvm.hasOffset = true;
  const last = machine(30, [0n, 0n]);
  loadClock(vm, last, older, 'keep');
  expect(tscs(last)).toEqual(values);
});

describe('a TSC of another frequency', () => {
  const saved = (khz: number): ClockSave => {
    const then = machine(10, [0n]);
    kvm.vcpus.get(10)!.khz = khz;
    return saveClock(vm, then);
  };

  test('is scaled where KVM can, and ticks by its own frequency', () => {
    const save = saved(3_000_000);
    const value = kvm.tsc(10);
    kvm.realtimeNs += second;
    const now = machine(20, [0n]);
    kvm.vcpus.get(20)!.scales = true;
    loadClock(vm, now, save, 'catch-up');
    expect(kvm.vcpus.get(20)!.khz).toBe(3_000_000);
    expect(kvm.tsc(20)).toBe(value + 3_000_000_000n);
  });

  test('is refused where it cannot, with both frequencies', () => {
    const save = saved(3_000_000);
    const failure = (): number => loadClock(vm, machine(20, [0n]), save, 'keep');
    expect(failure).toThrow(/runs at 3000000 kHz, this host's at 2000000 kHz/);
    expect(failure).toThrow(expect.objectContaining({ code: 'ERR_TSVMM_SNAPSHOT', hint: expect.any(String) }));
  });

  test.each([
    [1_999_501, true],
    [2_000_500, true],
    [1_999_400, false],
    [2_000_600, false],
  ])('of %d kHz on a host of 2,000,000 is near enough: %s', (khz, isNear) => {
    const save = saved(khz);
    const load = (): number => loadClock(vm, machine(20, [0n]), save, 'keep');
    if (isNear) expect(load()).toBe(0);
    else expect(load).toThrow('cannot scale it');
  });
});

describe('as bytes', () => {
  const i64 = fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n });
  const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
  const tsc = fc.record({
    khz: fc.integer({ min: 1, max: 100_000_000 }),
    value: u64,
    offset: fc.option(i64, { nil: undefined }),
  });
  const clock = fc.record({ clockNs: u64, realtimeNs: i64, tscs: fc.array(tsc, { minLength: 1, maxLength: 8 }) });

  test('are the same afterwards', () => {
    fc.assert(
      fc.property(clock, (save) => {
        expect(decodeClock(encodeClock(save), save.tscs.length)).toEqual(save);
      }),
    );
  });

  test('of another number of vCPUs, or of any other length, are refused', () => {
    fc.assert(
      fc.property(clock, fc.integer({ min: 0, max: 12 }), fc.integer({ min: -20, max: 20 }), (save, cpus, more) => {
        const bytes = encodeClock(save);
        if (cpus !== save.tscs.length) expect(decodeClock(bytes, cpus)).toBeUndefined();
        const other = new Uint8Array(Math.max(0, bytes.length + more));
        other.set(bytes.subarray(0, other.length));
        if (other.length !== bytes.length) expect(decodeClock(other, save.tscs.length)).toBeUndefined();
      }),
    );
  });

  test.each([
    ['no frequency', 2, 0n],
    ['a frequency that no processor has', 2, 100_000_001n],
    ['a frequency of 64 bits', 2, 2n ** 63n],
    ['neither an offset nor none', 5, 2n],
  ])('with %s are refused', (_, word, value) => {
    const bytes = encodeClock({ clockNs: 0n, realtimeNs: 0n, tscs: [{ khz: 1, value: 0n, offset: 0n }] });
    expect(decodeClock(bytes, 1)).toBeDefined();
    new DataView(bytes.buffer).setBigUint64(8 * word, value, true);
    expect(decodeClock(bytes, 1)).toBeUndefined();
  });

  test('any of them that are taken can be loaded', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 80, maxLength: 80 }), fc.boolean(), (bytes, hasOffset) => {
        kvm.hasOffset = hasOffset;
        for (const at of [16, 48]) {
          bytes.fill(0, at, at + 8);
          new DataView(bytes.buffer, bytes.byteOffset).setUint32(at, 2_000_000, true);
          bytes.fill(0, at + 24, at + 32);
          bytes[at + 24] = bytes[at]! & 1;
        }
        const save = decodeClock(bytes, 2)!;
        for (const policy of ['keep', 'catch-up'] as const)
          expect(loadClock(vm, machine(20, [0n, 0n]), save, policy)).toBeGreaterThanOrEqual(0);
      }),
    );
  });
});
