/**
 * A guest makes requests of a disk, and V8's sampling heap profiler says what the I/O worker allocates meanwhile, what has been
 * collected by then included. Prints, as JSON: bytes in all, and per allocation site.
 *
 *   node allocations.js KERNEL DISK CMDLINE
 *
 * The profiler is reached as by a debugger, by the inspector of the worker: nothing of ours is in its way.
 */
import { Session } from 'node:inspector/promises';
import { VirtualMachine } from 'tsvmm';

const [, , kernel = '', path = '', cmdline = ''] = process.argv;

/** Connects to the worker of that name. @returns what asks it */
async function connect(session, title) {
  const answers = new Map();
  let next = 1;
  const attached = new Promise((resolve) => {
    session.on('NodeWorker.attachedToWorker', ({ params }) => {
      if (params.workerInfo.url.includes(title)) resolve(params.sessionId);
    });
  });
  session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
    const { id, result, error } = JSON.parse(params.message);
    if (error) throw new Error(error.message);
    answers.get(id)?.(result);
  });
  await session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  const sessionId = await attached;
  return (method, params = {}) =>
    new Promise((resolve) => {
      const id = next++;
      answers.set(id, resolve);
      void session.post('NodeWorker.sendMessageToWorker', {
        sessionId,
        message: JSON.stringify({ id, method, params }),
      });
    });
}

/** Bytes by the function that allocated them. */
function sites(head) {
  const found = {};
  const visit = ({ callFrame, selfSize, children }) => {
    const { functionName, url, lineNumber } = callFrame;
    const name = `${functionName || '(anonymous)'} ${url.split('/').pop()}:${lineNumber + 1}`;
    if (selfSize > 0) found[name] = (found[name] ?? 0) + selfSize;
    for (const child of children) visit(child);
  };
  visit(head);
  return Object.fromEntries(Object.entries(found).sort(([, a], [, b]) => b - a));
}

const vm = await VirtualMachine.start({ memory: '64M', disks: [path], boot: { kernel, cmdline } });
const session = new Session();
session.connect();
await vm.console.waitFor('block: '); // a driver is there, and with it the I/O worker
const ask = await connect(session, 'io-worker');
await ask('HeapProfiler.enable');
await vm.console.waitFor('block: measuring');
await ask('HeapProfiler.startSampling', {
  samplingInterval: 128,
  includeObjectsCollectedByMajorGC: true,
  includeObjectsCollectedByMinorGC: true,
});
await vm.console.waitFor('block: measured');
const { profile } = await ask('HeapProfiler.stopSampling');
const { consoleTail } = await vm.exited;
const found = sites(profile.head);
const bytes = Object.values(found).reduce((sum, size) => sum + size, 0);
console.log(JSON.stringify({ requests: Number(/requests (\d+)/.exec(consoleTail)?.[1]), bytes, sites: found }));
process.exit();
