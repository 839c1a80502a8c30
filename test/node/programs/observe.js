/**
 * Everything that Node asks of all its threads at once, beside a machine of the guest that the argument names. Prints how
 * long each took, in ms, and that the machine still runs.
 */
import { Session } from 'node:inspector/promises';
import { getHeapSnapshot } from 'node:v8';
import { startMachine, stopwatch } from './machine.js';

const [guest, disk] = process.argv.slice(2);
const vm = await startMachine(guest, disk);
const took = {};

async function time(what, action) {
  const elapsed = stopwatch();
  const answer = await action();
  took[what] = elapsed();
  return answer;
}

const report = await time('report', () => process.report.getReport());
await time('heap snapshot', async () => {
  let length = 0;
  for await (const chunk of getHeapSnapshot()) length += chunk.length;
  return length;
});

/** Evaluates in this thread and in every worker there is, those of the machine among them. */
const evaluated = await time('inspector', async () => {
  const session = new Session();
  session.connect();
  const here = await session.post('Runtime.evaluate', { expression: '6 * 7' });
  const workers = [];
  session.on('NodeWorker.attachedToWorker', ({ params }) => workers.push(params.sessionId));
  await session.post('NodeWorker.enable', { waitForDebuggerOnStart: false });
  const answers = await Promise.all(
    workers.map(
      (sessionId) =>
        new Promise((resolve) => {
          session.on('NodeWorker.receivedMessageFromWorker', ({ params }) => {
            if (params.sessionId === sessionId) resolve(JSON.parse(params.message).result.result.value);
          });
          const message = JSON.stringify({ id: 1, method: 'Runtime.evaluate', params: { expression: '6 * 7' } });
          session.post('NodeWorker.sendMessageToWorker', { sessionId, message });
        }),
    ),
  );
  await session.post('NodeWorker.disable');
  session.disconnect();
  return [here.result.value, ...answers];
});

const state = vm?.state;
const exit = await time('kill', () => vm?.kill());
const { workers } = report;
console.log(JSON.stringify({ took, workers: workers.length, evaluated, state, reason: exit?.reason }));
