/**
 * Runs in a process of its own for bench/snapshot.ts, prints `ready` and waits for its end.
 *
 *   node snapshot-child.js pool N      N warm workers without machines
 *   node snapshot-child.js forks N     a tiny guest that sleeps, and N forks of it on warm workers
 */
import { join } from 'node:path';
import { prewarm, VirtualMachine } from 'tsvmm';

const kernel = join(process.cwd(), 'build/guests/halt.elf');
const [, , role = '', number = '1'] = process.argv;
const count = Number(number);
/** @type {unknown[]} */
const held = [await prewarm({ vcpus: count })];
if (role === 'forks') {
  const parent = await VirtualMachine.start({ memory: '128M', boot: { kernel } });
  await parent.console.waitFor('sleeping');
  held.push(parent, await parent.fork({ count }));
} else if (role !== 'pool') throw new Error(`no role "${role}"`);
console.log('ready');
setInterval(() => held.length, 1000); // until it is killed
