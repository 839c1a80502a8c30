/** Exits as KVM reports them, on a run page of our own. */
import { expect, test } from 'vitest';
import { type AccessSize, Bus } from '../../../src/bus/bus.js';
import { KvmRun, KvmRunExits } from '../../../src/kvm/structs.js';
import type { Vcpu } from '../../../src/kvm/vcpu.js';
import { serveIo, serveMmio } from '../../../src/threads/vcpu-exits.js';

const exits = KvmRun.offset.io;
const dataAt = 0x1000;

function make() {
  const run = new DataView(new ArrayBuffer(0x3000));
  const seen: [number, number, number?][] = [];
  const bus = new Bus('bus');
  const log = {
    name: 'log',
    read(offset: number, size: AccessSize) {
      seen.push([offset, size]);
      return 0xffff_ffff;
    },
    write(offset: number, size: AccessSize, value: number) {
      seen.push([offset, size, value]);
    },
  };
  return { run, seen, bus, log, vcpu: { run } as unknown as Vcpu };
}

test('T19: a repeated instruction is as many accesses to one port, the widest a page of them', () => {
  const { run, seen, bus, log, vcpu } = make();
  bus.insert(0x60, 1, log);
  run.setUint8(exits + KvmRunExits.offset.io_size, 1);
  run.setUint8(exits + KvmRunExits.offset.io_direction, 1);
  run.setUint16(exits + KvmRunExits.offset.io_port, 0x60, true);
  run.setUint32(exits + KvmRunExits.offset.io_count, 4096, true);
  run.setUint32(exits + KvmRunExits.offset.io_data_offset, dataAt, true);
  for (let i = 0; i < 4096; i++) run.setUint8(dataAt + i, i & 0xff);
  serveIo(vcpu, bus);
  expect(seen).toEqual(Array.from({ length: 4096 }, (_, i) => [0, 1, i & 0xff]));
});

test('T19: the last port wraps to no other', () => {
  const { run, seen, bus, log, vcpu } = make();
  bus.insert(0, 4, log);
  for (const size of [1, 2, 4]) {
    run.setUint8(exits + KvmRunExits.offset.io_size, size);
    run.setUint8(exits + KvmRunExits.offset.io_direction, 0);
    run.setUint16(exits + KvmRunExits.offset.io_port, 0xffff, true);
    run.setUint32(exits + KvmRunExits.offset.io_count, 1, true);
    run.setUint32(exits + KvmRunExits.offset.io_data_offset, dataAt, true);
    run.setUint32(dataAt, 0, true);
    serveIo(vcpu, bus);
    for (let i = 0; i < size; i++) expect(run.getUint8(dataAt + i)).toBe(0xff);
  }
  expect(seen).toEqual([]);
});

test('T19: any address and length of a memory access: cut into what a bus carries, never more than the page holds', () => {
  const { run, seen, bus, log, vcpu } = make();
  bus.insert(0x1000, 0x10, log);
  const serve = (address: bigint, length: number): void => {
    run.setBigUint64(exits + KvmRunExits.offset.mmio_phys_addr, address, true);
    run.setUint32(exits + KvmRunExits.offset.mmio_len, length, true);
    run.setUint8(exits + KvmRunExits.offset.mmio_is_write, 0);
    serveMmio(vcpu, bus);
  };
  serve(0x1009n, 7);
  expect(seen.splice(0)).toEqual([
    [9, 4],
    [13, 2],
    [15, 1],
  ]);
  serve(0x1000n, 0xffff_ffff);
  expect(seen.splice(0)).toEqual([
    [0, 4],
    [4, 4],
  ]);
  for (const address of [2n ** 64n - 1n, 2n ** 64n - 8n, 2n ** 63n, 2n ** 53n + 0x1000n]) serve(address, 8);
  expect(seen).toEqual([]);
});
