/**
 * Runs in a process of its own for bench/memory.ts, prints `ready` (and figures) and waits for its end.
 *
 *   node memory-child.js machines N      N tiny guests that sleep
 *   node memory-child.js workers N       N warm workers without machines
 *   node memory-child.js spawn-machine   milliseconds of a child's start beside a machine with 1 GiB, all of it touched
 *   node memory-child.js spawn-plain     the same beside as much memory that no machine marked
 */
import { spawnSync } from 'node:child_process';
import { join } from 'node:path';
import { prewarm, VirtualMachine } from 'tsvmm';

const kernel = join(process.cwd(), 'build/guests/halt.elf');
const [, , role = '', number = '0'] = process.argv;
const count = Number(number);
const GiB = 1024 ** 3;
const spawns = 15;
/** Two at a time: the start of many workers at once measures the host's patience. */
const abreast = 2;

/** @param {import('tsvmm').VmOptions['memory']} memory */
async function machine(memory) {
  const vm = await VirtualMachine.start({ memory, boot: { kernel } });
  await vm.console.waitFor('sleeping');
  return vm;
}

function medianSpawn() {
  const took = Array.from({ length: spawns }, () => {
    const started = performance.now();
    spawnSync('/bin/true');
    return performance.now() - started;
  });
  return took.sort((a, b) => a - b)[spawns >> 1];
}

/** @type {unknown[]} */
const held = [];
let figure = '';
if (role === 'machines') {
  for (let i = 0; i < count; i += abreast) {
    const some = Math.min(abreast, count - i);
    held.push(...(await Promise.all(Array.from({ length: some }, () => machine('16M')))));
  }
} else if (role === 'workers') {
  if (count > 0) held.push(await prewarm({ vcpus: count }));
} else if (role === 'spawn-machine') {
  held.push(await machine({ size: GiB, prefault: true, hugepages: 'off' }));
  figure = String(medianSpawn());
} else if (role === 'spawn-plain') {
  held.push(Buffer.alloc(GiB, 1));
  figure = String(medianSpawn());
} else throw new Error(`no role "${role}"`);
console.log(`ready ${figure}`);
setInterval(() => held.length, 1000); // until it is killed
