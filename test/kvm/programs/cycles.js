/**
 * Starts and ends machines with a disk, one after the other, in a process of its own, and prints what the process holds
 * now and then, as lines of JSON: descriptors, mappings, threads, and bytes of memory.
 *
 *   node --expose-gc cycles.js KERNEL DISK CYCLES SAMPLES cold|warm shared|own file|user
 *
 * Machines end in turn as they do: by themselves, by kill() while they write, by stop(); with a file and with an ephemeral
 * disk, or with disks of functions and of a module; `warm` uses the same vCPU worker for all, `cold` a new one for each; the I/O worker is `shared` by all or each one's `own`.
 */
import { readdirSync, readFileSync, statSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { Disk, prewarm, VirtualMachine } from 'tsvmm';
import memoryDisk from '../../node/programs/memory-disk.js';

const [, , kernel = '', path = '', cycleCount = '', sampleCount = '', vcpu = '', io = '', kind = ''] = process.argv;
const cycles = Number(cycleCount);
const every = cycles / Number(sampleCount);
/** Machines are destroyed, and what they held is given back, behind their end. */
const settleMs = 200;
const rounds = 4;
/** @type {'shared' | 'own'} */
const ioWorker = io === 'own' ? 'own' : 'shared';
/** Anonymous mappings up to this size are pages of V8, which come and go with its heap. */
const v8Page = 256 * 1024;

/** Of disks of functions: one for all, so that what the program itself holds is always the same. */
const content = new SharedArrayBuffer(statSync(path).size);
const module = new URL('../../node/programs/memory-disk.js', import.meta.url);

/** @param {number} index */
async function diskOf(index) {
  if (kind === 'file') return { path, ephemeral: index % 3 === 0 };
  return index % 3 === 0 ? Disk.fromModule(module, content) : Disk.from(await memoryDisk(content));
}

/** @param {number} index */
async function cycle(index) {
  const how = index % 4;
  const cmdline = `slots=16 ${how === 0 ? 'count=3' : ''}`;
  const disk = await diskOf(index);
  const vm = await VirtualMachine.start({ memory: '32M', disks: [disk], ioWorker, boot: { kernel, cmdline } });
  if (how === 0) vm.console.resume();
  else await vm.console.waitFor(how === 1 ? 'record 3' : 'records: from');
  if (how === 2) await vm.stop({ timeout: '1ms' });
  else if (how !== 0) await vm.kill();
  await vm.exited;
}

/** Those that machines could leave behind: with a name, as of KVM and its vCPUs, or large, as guest memory. */
function mappings() {
  const lines = readFileSync('/proc/self/maps', 'latin1').trimEnd().split('\n');
  return lines.filter((line) => {
    const [, from, to, name] = /^(\w+)-(\w+) .{4} \S+ \S+ \d+ *(.*)$/.exec(line) ?? [];
    return name !== '' || Number.parseInt(`${to}`, 16) - Number.parseInt(`${from}`, 16) > v8Page;
  }).length;
}

async function sample() {
  for (let round = 0; round < rounds; round++) {
    globalThis.gc?.(); // finalizers run between
    await delay(settleMs / rounds);
  }
  const status = readFileSync('/proc/self/status', 'latin1');
  return {
    fds: readdirSync('/proc/self/fd').length,
    mappings: mappings(),
    threads: readdirSync('/proc/self/task').length,
    memory: Number(/^RssAnon:\s+(\d+) kB$/m.exec(status)?.[1]) * 1024,
  };
}

if (vcpu === 'warm') await prewarm({ vcpus: 1 });
for (let index = 0; index < cycles; index++) {
  await cycle(index);
  if ((index + 1) % every === 0) console.log(JSON.stringify({ cycle: index + 1, ...(await sample()) }));
}
process.exit();
