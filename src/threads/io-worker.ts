/**
 * Entry of the I/O worker: serves the data paths of any number of machines. Bundled into one file.
 *
 * The environment and flags of the embedding program are not inherited (contract §1.5). User code never runs here.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { openEngine } from '../host/choose-engine.js';
import { raiseNice } from '../host/system.js';
import { helperStarter } from './io-helper-start.js';
import { IoLoop } from './io-loop.js';
import type { IoCommand, IoReport, IoWorkerData } from './io-protocol.js';

const port = parentPort;
if (port === null) throw new Error('io-worker is started by tsvmm as a worker');

/** From host/start-bundle.ts. */
declare const keepCode: () => void;

const data = workerData as IoWorkerData;
raiseNice(data.nice);
const engine = openEngine(data.engine, helperStarter(new URL(data.helper)));
const report = (message: IoReport): void => {
  if (message.type === 'detached') keepCode(); // main may end this thread as soon as it knows
  port.postMessage(message);
};
const loop = new IoLoop(engine, report);
loop.onEnd = () => port.close();
port.on('message', (command: IoCommand) => loop.command(command));
report({ type: 'ready', engine: engine.kind });
loop.start();
