/**
 * Runs in a process of its own for bench/lag.ts: serves HTTP beside some machines that read a disk flat out, and prints the
 * delays of its event loop as JSON: p50, p99 and max in milliseconds.
 *
 *   node lag-child.js MACHINES DISK
 */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as delay } from 'node:timers/promises';
import { VirtualMachine } from 'tsvmm';

const [, , count = '0', path = ''] = process.argv;
const kernel = join(process.cwd(), 'build/guests/block.elf');
/** The machines go on until they are killed. */
const cmdline = 'pattern=random mix=read size=4096 depth=32 warm-up=0 ms=600000';
const settleMs = 500;
const measureMs = 3000;
/** Of the timer whose lateness is the delay: the histogram counts it in. */
const resolution = 1;
/** Asks again and again, ten milliseconds apart, as a program of its own. */
const client = `
  const { get } = require('node:http');
  const ask = () => get(process.argv[1], (answer) => answer.resume().on('end', () => setTimeout(ask, 10)));
  ask();`;

const server = createServer((_request, response) => response.end('served\n'));
let served = 0;
server.on('request', () => served++);
server.listen(0, '127.0.0.1');
await once(server, 'listening');
const { port } = /** @type {import('node:net').AddressInfo} */ (server.address());
const asking = spawn(process.execPath, ['-e', client, `http://127.0.0.1:${port}/`], { stdio: 'inherit' });

const machines = await Promise.all(
  Array.from({ length: Number(count) }, () =>
    VirtualMachine.start({ memory: '64M', disks: [{ path, readOnly: true }], boot: { kernel, cmdline } }),
  ),
);
await Promise.all(machines.map((machine) => machine.console.waitFor('block: measuring', { timeout: '60s' })));
await delay(settleMs);
const before = served;
const histogram = monitorEventLoopDelay({ resolution });
histogram.enable();
await delay(measureMs);
histogram.disable();
asking.kill();
if (served === before) throw new Error('nothing was served');
for (const machine of machines)
  if (machine.state !== 'running') throw new Error(`a machine is ${machine.state} before its end`);
await Promise.all(machines.map((machine) => machine.kill()));
const ms = (/** @type {number} */ nanoseconds) => Math.max(nanoseconds / 1e6 - resolution, 0.001);
console.log(
  JSON.stringify({ p50: ms(histogram.percentile(50)), p99: ms(histogram.percentile(99)), max: ms(histogram.max) }),
);
process.exit();
