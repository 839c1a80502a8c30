import { Worker } from 'node:worker_threads';
import { expect, test } from 'vitest';
import { MachineEvent } from '../../../src/devices/wires.js';
import { KvmVm } from '../../../src/kvm/vm.js';
import { eventDetail, eventOf, MachineControlMap } from '../../../src/memory/control.js';
import { VcpuWires } from '../../../src/threads/vcpu-wires.js';

const wires = (control = MachineControlMap.over(new SharedArrayBuffer(MachineControlMap.size), 0)): VcpuWires => {
  return new VcpuWires(new KvmVm(), control, { main: -1, io: -1 }, () => {});
};

test('the first event wins, and is never seen without its detail', () => {
  const control = MachineControlMap.over(new SharedArrayBuffer(MachineControlMap.size), 0);
  const first = wires(control);
  first.raise(MachineEvent.debugExit, 0xfe);
  wires(control).raise(MachineEvent.panic, 1);
  const word = Atomics.load(control.event, 0); // one load, whatever a second thread does meanwhile
  expect([eventOf(word), eventDetail(word)]).toEqual([MachineEvent.debugExit, 0xfe]);
});

test('a vCPU is held while the word has its value, and no longer', () => {
  const held = wires();
  const word = new Int32Array(new SharedArrayBuffer(4));
  expect(held.isHeld).toBe(false);
  held.awaitHold(60_000); // not held: does not wait
  word[0] = 3;
  held.hold(word, 3);
  expect(held.isHeld).toBe(true);
  held.awaitHold(1); // nobody notifies: ends by itself, so that a kick is seen
  expect(held.isHeld).toBe(true);
  Atomics.store(word, 0, 0);
  expect(held.isHeld).toBe(false);
  Atomics.store(word, 0, 3);
  expect(held.isHeld).toBe(false); // another reset is another hold
});

test('whoever changes the word wakes the vCPU', async () => {
  const held = wires();
  const word = new Int32Array(new SharedArrayBuffer(4));
  word[0] = 3;
  held.hold(word, 3);
  const waker = new Worker(
    `const { workerData } = require('node:worker_threads');
     setTimeout(() => { Atomics.store(workerData, 0, 0); Atomics.notify(workerData, 0); }, 20);`,
    { eval: true, workerData: word },
  );
  held.awaitHold(60_000); // the test's own limit is shorter
  expect(held.isHeld).toBe(false);
  await waker.terminate();
});
