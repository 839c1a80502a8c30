/** What is saved of a vCPU and what is put back, in which order, with a KVM that remembers what it was told. */
import fc from 'fast-check';
import { beforeEach, describe, expect, test, vi } from 'vitest';
import { Ioctl, lapicStateSize, xsaveSize } from '../../../src/kvm/ioctls.js';
import {
  KvmDebugregs,
  KvmMpState,
  KvmMsrEntry,
  KvmRegs,
  KvmSregs,
  KvmVcpuEvents,
  KvmXcrs,
} from '../../../src/kvm/structs.js';
import { FakeKvm, FakeVcpu } from './fake-kvm.js';

let kvm: FakeKvm;
vi.mock('../../../src/host/addon.js', () => ({ native: () => kvm.native }));
const { checkVcpuSave, loadVcpu, saveVcpu, vcpuParts } = await import('../../../src/kvm/vcpu-save.js');
const { decodeMsrs } = await import('../../../src/kvm/msrs.js');
const { asHeld, holdClocks } = await import('../../../src/kvm/held-clocks.js');
type VcpuSave = ReturnType<typeof saveVcpu>;
type Part = (typeof vcpuParts)[number];

const TSC = 0x10;
const TSC_DEADLINE = 0x6e0;
const [then, now] = [10, 20];
const fixed = {
  'mp-state': [KvmMpState.size, Ioctl.KVM_GET_MP_STATE],
  regs: [KvmRegs.size, Ioctl.KVM_GET_REGS],
  sregs: [KvmSregs.size, Ioctl.KVM_GET_SREGS],
  xcrs: [KvmXcrs.size, Ioctl.KVM_GET_XCRS],
  debugregs: [KvmDebugregs.size, Ioctl.KVM_GET_DEBUGREGS],
  lapic: [lapicStateSize, Ioctl.KVM_GET_LAPIC],
  events: [KvmVcpuEvents.size, Ioctl.KVM_GET_VCPU_EVENTS],
} as const;

let facts: { msrs: number[]; xsaveBytes: number };
let from: FakeVcpu;
let to: FakeVcpu;
const filled = (size: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: size }, (_, i) => (i * 7 + seed) & 0xff);
const numbers = ({ msrs }: VcpuSave): number[] => decodeMsrs(msrs).map(([index]) => index);

beforeEach(() => {
  kvm = new FakeKvm();
  facts = { msrs: [TSC, 0x174, TSC_DEADLINE, 0x175, 0xc000_0080], xsaveBytes: xsaveSize };
  from = new FakeVcpu();
  to = new FakeVcpu();
  kvm.vcpus.set(then, from).set(now, to);
  for (const index of facts.msrs.slice(1)) {
    from.msrs.set(index, BigInt(index) * 0x1_0000_0001n);
    to.msrs.set(index, 0n);
  }
  Object.values(fixed).forEach(([size, get], i) => {
    from.parts.set(get, filled(size, i));
  });
  from.parts.set(Ioctl.KVM_GET_XSAVE, filled(xsaveSize, 99));
});

test('all of it is there again, but for the TSC, which is the clock of the machine', () => {
  const save = saveVcpu(then, facts);
  loadVcpu(now, save, facts);
  for (const [, get] of Object.values(fixed)) expect(to.parts.get(get)).toEqual(from.parts.get(get));
  expect(to.parts.get(Ioctl.KVM_GET_XSAVE)).toEqual(from.parts.get(Ioctl.KVM_GET_XSAVE));
  expect(to.msrs).toEqual(from.msrs);
  expect(numbers(save)).toEqual([0x174, 0x175, 0xc000_0080, TSC_DEADLINE]);
});

test('T43: in the order that KVM needs: the MP state is read first, the deadline of the timer set after the LAPIC, events last', () => {
  saveVcpu(then, facts);
  expect(kvm.calls[0]).toBe(`${then} KVM_GET_MP_STATE`);
  kvm.calls.length = 0;
  loadVcpu(now, saveVcpu(then, facts), facts);
  expect(kvm.calls.filter((call) => call.includes('_SET_'))).toEqual(
    ['MP_STATE', 'REGS', 'SREGS', 'XSAVE', 'XCRS', 'DEBUGREGS', 'LAPIC', 'MSRS', 'VCPU_EVENTS'].map(
      (what) => `${now} KVM_SET_${what}`,
    ),
  );
});

describe('MSRs', () => {
  test('that this vCPU does not have are left out, wherever in the list they are and however many', () => {
    fc.assert(
      fc.property(fc.array(fc.boolean(), { minLength: 0, maxLength: 700 }), fc.boolean(), (there, hasDeadline) => {
        facts.msrs = there.map((_, i) => 0x1000 + i);
        from.msrs.clear();
        const expected = facts.msrs.filter((_, i) => there[i]);
        if (hasDeadline) expected.push(TSC_DEADLINE);
        for (const index of expected) from.msrs.set(index, BigInt(index) << 40n);
        const save = saveVcpu(then, facts);
        expect(numbers(save)).toEqual(expected);
        to.msrs = new Map(expected.map((index) => [index, 0n]));
        loadVcpu(now, save, facts);
        expect(to.msrs).toEqual(from.msrs);
      }),
    );
  });

  test('that KVM does not list twice are not saved twice', () => {
    expect(numbers(saveVcpu(then, facts)).filter((index) => index === TSC_DEADLINE)).toHaveLength(1);
  });

  test('that KVM refuses are no matter if they have that value, and those behind are set', () => {
    from.msrs.set(0x174, 5n);
    to.msrs.set(0x174, 5n);
    to.readOnly.add(0x174);
    loadVcpu(now, saveVcpu(then, facts), facts);
    expect(to.msrs).toEqual(from.msrs);
  });

  test.each([
    ['has another value', () => to.readOnly.add(0x174)],
    ['is not there', () => to.msrs.delete(0x174)],
  ])('one that KVM refuses and that %s is named', (_, spoil) => {
    spoil();
    const load = (): void => loadVcpu(now, saveVcpu(then, facts), facts);
    expect(load).toThrow('this KVM refuses to set MSR 0x174 of a vCPU');
    expect(load).toThrow(expect.objectContaining({ code: 'ERR_TSVMM_SNAPSHOT', hint: expect.any(String) }));
  });
});

describe('as it was when it was held', () => {
  const [irr, timer, count] = [0x200, 0x320, 0x390];
  const lapic = (vector: number, pending: boolean, left: number): Uint8Array => {
    const bytes = new Uint8Array(lapicStateSize);
    const view = new DataView(bytes.buffer);
    view.setUint32(timer, vector, true);
    view.setUint32(irr + 0x10 * (vector >>> 5), pending ? 1 << (vector & 31) : 0, true);
    view.setUint32(count, left, true);
    return bytes;
  };

  test.each([false, true])('its timer has not come meanwhile, unless it had before (%s)', (wasPending) => {
    for (const vector of [0x31, 0x20, 0xef, 0xff]) {
      from.msrs.set(TSC_DEADLINE, 1234n);
      from.parts.set(Ioctl.KVM_GET_LAPIC, lapic(vector, wasPending, 500));
      const held = holdClocks(then, [then]).timers[0]!;
      from.msrs.set(TSC_DEADLINE, 0n);
      from.parts.set(Ioctl.KVM_GET_LAPIC, lapic(vector, true, 0));
      const save = asHeld(saveVcpu(then, facts), held);
      expect(save.lapic).toEqual(lapic(vector, wasPending, 500));
      expect(decodeMsrs(save.msrs).at(-1)).toEqual([TSC_DEADLINE, 1234n]);
      expect(decodeMsrs(save.msrs).slice(0, -1)).toEqual(decodeMsrs(saveVcpu(then, facts).msrs).slice(0, -1));
    }
  });

  test('one without a deadline has none afterwards', () => {
    from.msrs.delete(TSC_DEADLINE);
    const held = holdClocks(then, [then]).timers[0]!;
    expect(numbers(asHeld(saveVcpu(then, facts), held))).toEqual([0x174, 0x175, 0xc000_0080]);
  });
});

describe('the extended state', () => {
  const larger = xsaveSize + 8192;

  test('is asked for whole where it is larger than it used to be', () => {
    facts.xsaveBytes = larger;
    from.parts.set(Ioctl.KVM_GET_XSAVE2, filled(larger, 3));
    const { xsave } = saveVcpu(then, facts);
    expect(xsave).toEqual(filled(larger, 3));
    expect(kvm.calls).not.toContain(`${then} KVM_GET_XSAVE`);
  });

  test('of a host that had less is filled up with zeroes, which is its state before it was used', () => {
    const save = saveVcpu(then, facts);
    loadVcpu(now, save, { ...facts, xsaveBytes: larger });
    const loaded = to.parts.get(Ioctl.KVM_GET_XSAVE)!;
    expect(loaded).toHaveLength(larger);
    expect(loaded.subarray(0, xsaveSize)).toEqual(save.xsave);
    expect(loaded.subarray(xsaveSize).every((byte) => byte === 0)).toBe(true);
  });
});

describe('bytes that cannot be a vCPU', () => {
  test.each(vcpuParts.flatMap((part) => [-1, 1].map((more): [Part, number] => [part, more])))(
    '%s of %i bytes more are refused before KVM is asked',
    (part, more) => {
      const save = saveVcpu(then, facts);
      const spoilt = { ...save, [part]: new Uint8Array(save[part].length + more) };
      kvm.calls.length = 0;
      const load = (): void => loadVcpu(now, spoilt, facts);
      expect(load).toThrow(`${part} of a vCPU has ${save[part].length + more} bytes`);
      expect(load).toThrow(expect.objectContaining({ code: 'ERR_TSVMM_SNAPSHOT', hint: expect.any(String) }));
      expect(kvm.calls).toEqual([]);
    },
  );

  test('none at all is refused but for MSRs, of which there may be none', () => {
    const save = saveVcpu(then, facts);
    for (const part of vcpuParts) {
      const check = (): void => checkVcpuSave({ ...save, [part]: new Uint8Array(0) }, facts.xsaveBytes);
      if (part === 'msrs') expect(check).not.toThrow();
      else expect(check).toThrow(part);
    }
  });

  test('more MSRs than KVM has ever listed are refused: each of them could cost two calls', () => {
    const save = saveVcpu(then, facts);
    const msrs = (count: number) => ({ ...save, msrs: new Uint8Array(count * KvmMsrEntry.size) });
    expect(() => checkVcpuSave(msrs(2048), facts.xsaveBytes)).not.toThrow();
    expect(() => checkVcpuSave(msrs(1_000_000), facts.xsaveBytes)).toThrow('msrs of a vCPU has 16000000 bytes');
  });
});
