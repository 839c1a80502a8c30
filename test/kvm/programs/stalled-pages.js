// A program whose machine waits for memory that never comes, and that ends in one way or another.
import { setTimeout as delay } from 'node:timers/promises';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { Snapshot, VirtualMachine } from 'tsvmm';

const [bare, whole, how, where] = isMainThread ? process.argv.slice(2) : workerData;

/** It has its vCPU and its I/O worker wait. */
async function stall() {
  const snapshot = await Snapshot.open(whole);
  let isStalled = false;
  const read = async (address, into) => {
    if (isStalled) await new Promise(() => {});
    snapshot.memory.readInto(address, into);
  };
  const vm = await VirtualMachine.restore(bare, { pages: { read, blockSize: '4K' } });
  isStalled = true;
  vm.console.write('who other\n');
  await delay(300);
}

if (!isMainThread) {
  await stall();
  parentPort.postMessage('stalled');
  await new Promise(() => {});
} else if (where === 'worker') {
  const worker = new Worker(new URL(import.meta.url), { workerData: process.argv.slice(2) });
  await new Promise((resolve) => worker.once('message', resolve));
  console.log('stalled');
  await worker.terminate();
} else {
  await stall();
  console.log('stalled');
  if (how === 'fails') throw new Error('as it should');
  process.exit(0);
}
