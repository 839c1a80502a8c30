/**
 * What bin/tsvmm.js runs: starts the program, and before it the first vCPU's thread of `tsvmm run` and `tsvmm restore`, which takes as long to
 * start as the rest of the program takes to be read and to prepare the machine. Main thread.
 */
import { pathToFileURL } from 'node:url';
import { codeCache } from '../host/code-cache.js';
import { whyNotThisRuntime } from '../host/runtime.js';
import { startBundle } from '../host/start-bundle.js';
import { keepWorkerCode, startVcpuWorker } from '../threads/worker-start.js';
import type { Handed } from './main.js';

const supported = whyNotThisRuntime() === undefined;
const { env } = process;
const cache = supported && env['TSVMM_CODE_CACHE'] !== '0' ? codeCache(env['XDG_CACHE_HOME']) : undefined;
keepWorkerCode(cache);
const runs = supported && (process.argv[2] === 'run' || process.argv[2] === 'restore');
const vcpu = runs ? startVcpuWorker(new URL('./vcpu-worker.cjs', pathToFileURL(__filename))) : undefined;
startBundle('cli', require, __filename, { handed: { vcpu, cache } satisfies Handed, cache });
