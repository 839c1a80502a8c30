/**
 * Two machines that have done all they had to do: one has written to its disk (WORDS says how much, and whether for ever), one
 * has spoken on its virtio console. Prints, as JSON, what each thread of this process has done in the time after that: how often it ran, and for how many milliseconds.
 *
 *   node idle.js RECORDS CONSOLE DISK MILLISECONDS WORDS
 */
import { readdirSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { VirtualMachine } from 'tsvmm';

const [, , records = '', speaker = '', path = '', milliseconds = '', words = ''] = process.argv;
/** Timers of the burst (output that gathers, workers that look before they sleep) have ended, and V8 has compiled. */
const settleMs = 1500;

const start = (kernel, cmdline, options) =>
  VirtualMachine.start({ memory: '32M', cpus: 1, boot: { kernel, cmdline }, ...options });

/** How often it began to wait or lost its processor (proc(5)), and the time that it ran (schedstat: nanoseconds). */
function threads() {
  const found = new Map();
  for (const thread of readdirSync('/proc/self/task')) {
    const file = (name) => readFileSync(`/proc/self/task/${thread}/${name}`, 'latin1');
    const switches = [...file('status').matchAll(/ctxt_switches:\s+(\d+)/g)].reduce((sum, [, n]) => sum + Number(n), 0);
    found.set(thread, { name: file('comm').trim(), switches, ms: Number(file('schedstat').split(' ')[0]) / 1e6 });
  }
  return found;
}

const writer = await start(records, `slots=16 ${words}`, { disks: [path] });
const talker = await start(speaker, '', { console: { device: 'virtio' } });
await talker.console.waitFor('hello from');
talker.console.write('burst 300\n');
talker.console.resume();
await Promise.all([writer.console.waitFor('record 300'), talker.console.waitFor('burst line 299')]);

await delay(settleMs);
const before = threads();
await delay(Number(milliseconds));
const ran = [...threads()].map(([thread, { name, switches, ms }]) => {
  const then = before.get(thread) ?? { switches: 0, ms: 0 };
  return { name, switches: switches - then.switches, ms: ms - then.ms };
});
console.log(JSON.stringify({ states: [writer.state, talker.state], ran }));
process.exit();
