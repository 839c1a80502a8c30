/** Entry of the worker that supplies the memory of one machine. Bundled into one file. */
import { parentPort, workerData } from 'node:worker_threads';
import type { PagerCommand, PagerData } from './pager-protocol.js';
import { PagerServer } from './pager-server.js';

const port = parentPort;
if (port === null) throw new Error('pager-worker is started by tsvmm as a worker');

const server = new PagerServer(workerData as PagerData, (report) => port.postMessage(report));

port.on('message', (command: PagerCommand) => {
  switch (command.type) {
    case 'block':
      server.take(command.block, command.bytes);
      break;
    case 'load':
      server.load(command.id, command.range);
      break;
    case 'end':
      server.close();
      port.close();
      break;
    default:
      command satisfies never;
  }
});
