/**
 * What bin/tsvmm.js runs: starts the program, and before it the first vCPU's thread of `tsvmm run`, which takes as long to
 * start as the rest of the program takes to be read and to prepare the machine. Main thread.
 */
import { pathToFileURL } from 'node:url';
import { whyNotThisRuntime } from '../host/runtime.js';
import { startBundle } from '../host/start-bundle.js';
import { startVcpuWorker } from '../threads/worker-start.js';

const runs = process.argv[2] === 'run' && whyNotThisRuntime() === undefined;
const ahead = runs ? startVcpuWorker(new URL('./vcpu-worker.cjs', pathToFileURL(__filename))) : undefined;
startBundle('cli', require, __filename, ahead);
