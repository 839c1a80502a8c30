import { expect, test } from 'vitest';
import { ports } from '../../../../src/devices/memory-map.js';
import { raiseQueue } from '../../../../src/virtio/interrupt.js';
import { bytesPerOperation } from '../../support/allocation.js';
import { MockDriver, makeMachine } from './mock-driver.js';

/** Bytes per access: no object. V8 may put one number on the heap (16 bytes), as addresses exceed 31 bits. */
const almostNothing = 24;
/** Times are such numbers, and there are several. */
const fewNumbers = 96;

const machine = makeMachine();
Object.assign(machine.wires, { setLine: () => {}, ring: () => {} }); // recording allocates
const driver = new MockDriver(machine);
driver.start();
machine.dataPath();
const { ports: io, mmio } = machine.vcpu();
const common = driver.structures.get(1)!.address;
const notify = driver.structures.get(2)!.address;
const drained = new Uint8Array(4096);

const cases: Record<string, () => unknown> = {
  'a byte written to the console': () => {
    io.write(ports.serial.base, 1, 0x41);
    if (machine.host.serial.outputLength >= 4096) machine.host.serial.readOutput(drained);
  },
  'line status read': () => io.read(ports.serial.base + 5, 1),
  'virtio status read': () => mmio.read(common + 0x14, 1),
  'virtio queue register read': () => mmio.read(common + 0x18, 2),
  'a doorbell': () => mmio.write(notify, 2, 0),
  'an INTx raised and acknowledged': () => {
    raiseQueue(machine.targets[0]!, 0);
    mmio.read(driver.structures.get(3)!.address, 1);
  },
};

const clocks: Record<string, () => unknown> = {
  'the time of day': () => io.read(ports.rtc.base + 1, 1),
  'the PM timer': () => io.read(ports.pmTimer.base, 4),
};

const perAccess = (access: () => unknown): number =>
  bytesPerOperation((operations) => {
    for (let i = 0; i < operations; i++) access();
  }, 5000);

test.each(Object.entries(cases))('%s makes no object', (_, access) => {
  expect(perAccess(access)).toBeLessThan(almostNothing);
});

test.each(Object.entries(clocks))('reading %s makes no object', (_, access) => {
  expect(perAccess(access)).toBeLessThan(fewNumbers);
});
