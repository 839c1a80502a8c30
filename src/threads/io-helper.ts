/**
 * Entry point of the helper thread of the epoll engine: does the file operations that would block the I/O worker, one
 * after the other (contract §5.2). A bundle of its own, started by the I/O worker at the first such operation.
 */
import { workerData } from 'node:worker_threads';
import { HelperChannel } from '../host/epoll-helper.js';
import type { HelperData } from './io-helper-start.js';

new HelperChannel((workerData as HelperData).channel).serve();
