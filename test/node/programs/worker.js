/**
 * A worker of the program runs machines and ends, in each of the ways that a worker can end, by its parent's hand and by
 * its own. Prints how long that took, in ms, and what the process holds after every round; the first round makes what there
 * is one of per process.
 */
import { once } from 'node:events';
import { readdirSync, readFileSync, readlinkSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { isMainThread, parentPort, Worker, workerData } from 'node:worker_threads';
import { startMachine, stopwatch, threadNumber } from './machine.js';

const guestMegabytes = 32;

/** Descriptors by kind, threads, and mappings as large as guest memory. */
function holdings() {
  const held = { threads: readdirSync('/proc/self/task').length, memory: 0 };
  for (const fd of readdirSync('/proc/self/fd')) {
    try {
      const target = readlinkSync(`/proc/self/fd/${fd}`).replace(/\d+/g, 'N');
      if (target.includes('eventfd') || target.includes('kvm') || target.includes('disk'))
        held[target] = (held[target] ?? 0) + 1;
    } catch {
      // closed meanwhile, as the descriptor that listed the folder
    }
  }
  for (const [, start, end] of readFileSync('/proc/self/maps', 'latin1').matchAll(/^(\w+)-(\w+) /gm)) {
    if (Number.parseInt(end, 16) - Number.parseInt(start, 16) === guestMegabytes << 20) held.memory++;
  }
  return held;
}

/** How the worker ends, once its machine runs. */
const ways = {
  terminate: (worker) => worker.terminate(),
  snapshot: (worker) => worker.terminate(),
  exit: (worker) => worker.postMessage('exit'),
  throw: (worker) => worker.postMessage('throw'),
  unref: (worker) => worker.postMessage('unref'),
  kill: (worker) => worker.postMessage('kill'),
};

async function round(how, guest, disk) {
  const worker = new Worker(fileURLToPath(import.meta.url), { workerData: { guest, disk } });
  const ended = new Promise((resolve) => worker.once('exit', resolve));
  worker.on('error', (error) => {
    if (error.message !== 'thrown in a worker') console.error(error);
  });
  const [thread] = await once(worker, 'message');
  const snapshotMs = how === 'snapshot' ? await takeSnapshot(worker, stopwatch(thread)) : 0;
  const elapsed = stopwatch();
  await ways[how](worker);
  await ended;
  return snapshotMs + elapsed();
}

/** The snapshot is the worker's own work: `elapsed` is of its thread. */
async function takeSnapshot(worker, elapsed) {
  for await (const _ of await worker.getHeapSnapshot()) {
    // read to its end
  }
  return elapsed();
}

/** Threads that have ended may be listed for a moment. */
async function settled(before) {
  for (let tries = 0; tries < 50; tries++) {
    if (JSON.stringify(holdings()) === JSON.stringify(before)) break;
    await delay(20);
  }
  return holdings();
}

if (isMainThread) {
  const [guest, disk] = process.argv.slice(2);
  await round('terminate', guest, disk);
  await delay(200);
  const before = holdings();
  const results = [];
  for (const how of Object.keys(ways)) {
    const took = await round(how, guest, disk);
    results.push({ how, took, left: await settled(before) });
  }
  console.log(JSON.stringify({ before, results }));
} else {
  const vm = await startMachine(workerData.guest, workerData.disk);
  parentPort.on('message', async (how) => {
    if (how === 'exit') process.exit(3);
    if (how === 'throw') throw new Error('thrown in a worker');
    if (how === 'unref') vm?.unref();
    if (how === 'kill') await vm?.kill();
    parentPort.close();
  });
  parentPort.postMessage(threadNumber());
}
