/**
 * Serves the exits that a running guest causes: port and memory-mapped accesses. vCPU worker, under the machine lock.
 *
 * Reads the run page in place and allocates nothing. Widths that no bus carries (8 bytes, or the odd ones of an access
 * across a page boundary) become several of 4, 2 and 1.
 */
import type { AccessSize, Bus } from '../bus/bus.js';
import { KvmRun, KvmRunExits } from '../kvm/structs.js';
import type { Vcpu } from '../kvm/vcpu.js';

const at = KvmRun.offset.io;
const Io = {
  direction: at + KvmRunExits.offset.io_direction,
  size: at + KvmRunExits.offset.io_size,
  port: at + KvmRunExits.offset.io_port,
  count: at + KvmRunExits.offset.io_count,
  dataOffset: at + KvmRunExits.offset.io_data_offset,
} as const;
const Mmio = {
  addressLow: at + KvmRunExits.offset.mmio_phys_addr,
  addressHigh: at + KvmRunExits.offset.mmio_phys_addr + 4,
  data: at + KvmRunExits.offset.mmio_data,
  length: at + KvmRunExits.offset.mmio_len,
  isWrite: at + KvmRunExits.offset.mmio_is_write,
} as const;
const IO_OUT = 1;
const maxMmioLength = 8;

/** KVM_EXIT_IO: `count` accesses of one width to one port; a string instruction makes count more than 1. */
export function serveIo(vcpu: Vcpu, ports: Bus): void {
  const { run } = vcpu;
  const size = run.getUint8(Io.size) as AccessSize;
  const port = run.getUint16(Io.port, true);
  const count = run.getUint32(Io.count, true);
  const data = run.getUint32(Io.dataOffset, true); // the low half: the page is far below 4 GiB long
  const write = run.getUint8(Io.direction) === IO_OUT;
  // Nobody claims the whole width: the ISA bus makes it byte accesses to neighbouring ports.
  const split = size > 1 && !ports.claims(port, size);
  for (let i = 0; i < count; i++) {
    const offset = data + i * size;
    if (split) for (let byte = 0; byte < size; byte++) access(run, offset + byte, ports, port + byte, 1, write);
    else access(run, offset, ports, port, size, write);
  }
}

function access(run: DataView, offset: number, bus: Bus, address: number, size: AccessSize, write: boolean): void {
  if (write) bus.write(address, size, load(run, offset, size));
  else store(run, offset, size, bus.read(address, size));
}

/** KVM_EXIT_MMIO. */
export function serveMmio(vcpu: Vcpu, bus: Bus): void {
  const { run } = vcpu;
  const address = run.getUint32(Mmio.addressHigh, true) * 0x1_0000_0000 + run.getUint32(Mmio.addressLow, true);
  const length = Math.min(run.getUint32(Mmio.length, true), maxMmioLength);
  const write = run.getUint8(Mmio.isWrite) !== 0;
  for (let done = 0; done < length; ) {
    const left = length - done;
    const size: AccessSize = left >= 4 ? 4 : left >= 2 ? 2 : 1;
    access(run, Mmio.data + done, bus, address + done, size, write);
    done += size;
  }
}

function load(view: DataView, offset: number, size: AccessSize): number {
  return size === 4 ? view.getUint32(offset, true) : size === 2 ? view.getUint16(offset, true) : view.getUint8(offset);
}

function store(view: DataView, offset: number, size: AccessSize, value: number): void {
  if (size === 4) view.setUint32(offset, value, true);
  else if (size === 2) view.setUint16(offset, value, true);
  else view.setUint8(offset, value);
}
