/**
 * Entry of the worker of one disk's module: loads the module and calls the functions that its default export makes. Bundled
 * into one file. User code runs here, and nothing else's does: what it does wrong costs this disk alone.
 */
import { parentPort, workerData } from 'node:worker_threads';
import { type UserDiskFunctions, userDiskFunctions, userDiskNames } from '../disk/user-disk.js';
import type { DiskCommand, DiskReport, DiskWorkerData } from './disk-protocol.js';
import type { UserRequest } from './user-disk-request.js';
import { DiskRequests, reasonOf } from './user-disk-requests.js';
import { UserDiskServer } from './user-disk-server.js';

const port = parentPort;
if (port === null) throw new Error('disk-worker is started by tsvmm as a worker');

/** From host/start-bundle.ts: an import as any module's. */
declare const handed: (url: string) => Promise<{ default?: unknown }>;

const { module, data } = workerData as DiskWorkerData;
const report = (message: DiskReport, transfer: ArrayBuffer[] = []): void => port.postMessage(message, transfer);

let made: Record<string, unknown> = {};
let requests: DiskRequests | undefined;
let server: UserDiskServer | undefined;
/** Reads for the boot. */
const reads = new Map<number, UserRequest>();

port.on('message', (command: DiskCommand) => {
  switch (command.type) {
    case 'open': {
      const { facts } = command;
      const functions: Record<string, unknown> = {};
      for (const name of userDiskFunctions) {
        const value = made[name];
        if (typeof value === 'function') functions[name] = value.bind(made);
      }
      requests = new DiskRequests(
        { facts, functions: functions as unknown as UserDiskFunctions },
        (message, suppressed) => report({ type: 'warning', message, suppressed }),
      );
      break;
    }
    case 'serve':
      server = new UserDiskServer(command.disk, requests!);
      break;
    case 'read':
      read(command.id, command.offset, command.length);
      break;
    case 'abort': {
      const request = reads.get(command.id);
      if (request !== undefined) requests!.abort(request, new DOMException('nobody waits any more', 'AbortError'));
      break;
    }
    case 'close':
      server?.close();
      void (requests?.close({ message: 'the machine has ended' }) ?? Promise.resolve()).then(() =>
        report({ type: 'closed' }),
      );
      break;
    default:
      command satisfies never;
  }
});

function read(id: number, offset: number, length: number): void {
  let ended = false;
  const request = requests!.add({
    operation: 0,
    offset,
    length,
    ended: (failure, answer) => {
      ended = true;
      reads.delete(id);
      if (failure !== undefined) return report({ type: 'read', id, failure: failure.message });
      const bytes = new Uint8Array(answer!); // a copy: the function may still have its buffer
      report({ type: 'read', id, bytes }, [bytes.buffer]);
    },
  });
  if (!ended) reads.set(id, request);
}

async function load(): Promise<void> {
  const { default: make } = await handed(module);
  if (typeof make !== 'function') throw new TypeError('its default export is no function');
  const result: unknown = await make(data);
  if (typeof result !== 'object' || result === null) throw new TypeError('its default export answered with no object');
  made = result as Record<string, unknown>;
  const values: Record<string, unknown> = {};
  const functions: string[] = [];
  for (const name of new Set([...ownNames(made), ...userDiskNames, ...userDiskFunctions])) {
    const value = made[name];
    if (typeof value === 'function') functions.push(name);
    else if (value !== undefined) values[name] = plain(value);
  }
  report({ type: 'loaded', values, functions });
}

/** An instance of a class may have state of its own. */
const ownNames = (value: object): string[] => {
  const prototype: unknown = Object.getPrototypeOf(value);
  return prototype === Object.prototype || prototype === null ? Object.keys(value) : [];
};

/** As it can be posted. No option is an object. */
const plain = (value: unknown): unknown =>
  typeof value === 'symbol' || typeof value === 'object' ? Object.prototype.toString.call(value) : value;

load().catch((error: unknown) => {
  report({ type: 'failed', message: reasonOf(error), stack: error instanceof Error ? error.stack : undefined });
});
