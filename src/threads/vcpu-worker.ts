/**
 * Entry of a vCPU worker: one vCPU at a time, then idle for the next machine. Bundled into one file.
 *
 * The environment and flags of the embedding program are not inherited (contract §1.5).
 */
import { parentPort, workerData } from 'node:worker_threads';
import { asTsvmmError, type WireError } from '../errors.js';
import { native } from '../host/addon.js';
import { raiseNice } from '../host/system.js';
import { type CopyJob, chunkSize, copySome } from '../memory/copy-job.js';
import { freePages } from '../memory/pages-aside.js';
import { rehearse } from './rehearsal.js';
import { buildBoard, type VcpuBoard } from './vcpu-board.js';
import { rehearsing, type VcpuCommand, type VcpuReport, vcpuNice } from './vcpu-protocol.js';
import { VcpuThread } from './vcpu-thread.js';

const port = parentPort;
if (port === null) throw new Error('vcpu-worker is started by tsvmm as a worker');

/** From host/start-bundle.ts. */
declare const keepCode: () => void;

let board: VcpuBoard | undefined;
let thread: VcpuThread | undefined;
/** Nothing of a vCPU follows what has failed but its end: main does not wait for each answer before the next order. */
let hasFailed = false;
/** Orders that are obeyed all the same. */
const always: readonly VcpuCommand['type'][] = ['close', 'forget', 'copy', 'free'];

const report = (message: VcpuReport): void => {
  if (message.type === 'stopped') {
    thread = undefined;
    board = undefined;
    keepCode(); // main may end this thread as soon as it knows
  }
  port.postMessage(message);
};

function obey(command: VcpuCommand): void {
  if (command.type === 'build') hasFailed = false;
  if (hasFailed && !always.includes(command.type)) return;
  switch (command.type) {
    case 'wake':
      break;
    case 'build':
      board = buildBoard(command.assignment, report);
      break;
    case 'create':
      board!.vm.adopt(command.vmFd);
      thread = new VcpuThread(board!, report);
      break;
    case 'forget':
      report({ type: 'stopped' });
      break;
    case 'prefault':
      thread?.prefault(command.ranges, command.writes);
      break;
    case 'enter':
      thread?.enter(command.start);
      break;
    case 'load':
      thread?.load(command.save, command.facts);
      break;
    case 'revive':
      thread?.revive(command.revival);
      break;
    case 'go-on':
      thread?.goOn(command.from);
      break;
    case 'copy':
      report({ type: 'copied', error: copy(command.job) });
      break;
    case 'free':
      freePages(command.parts);
      report({ type: 'freed' });
      break;
    case 'close':
      // Already gone if the kick reached it first; then it has reported.
      if (thread === undefined) break;
      thread.close();
      report({ type: 'stopped' });
      break;
    default:
      command satisfies never;
  }
}

function copy(job: CopyJob): WireError | undefined {
  try {
    raiseNice(vcpuNice);
    copySome(job, Buffer.allocUnsafeSlow(chunkSize));
    return undefined;
  } catch (error) {
    return asTsvmmError(error, 'ERR_TSVMM_STATE').toWire();
  }
}

port.on('message', (command: VcpuCommand) => {
  try {
    obey(command);
  } catch (error) {
    if (command.type === 'close') throw error;
    if (thread === undefined) board = undefined;
    hasFailed = true;
    report({ type: 'failed', error: asTsvmmError(error, 'ERR_TSVMM_KVM_IOCTL').toWire() });
  }
});

native(); // loaded while main is still preparing the boot image
if (workerData === rehearsing) rehearse(); // no machine waits for this one
report({ type: 'idle' });
