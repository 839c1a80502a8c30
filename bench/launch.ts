/**
 * How long until a tiny guest's first output: in a running process, from the warm pool, and as a command. The peer is QEMU's
 * microvm with the same guest on the same KVM.
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { prewarm, VirtualMachine } from 'tsvmm';
import { type Bench, qemuCpu, whyNoKvm, whyNoQemu } from './harness.js';
import { command, nodeAlone } from './support/command.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const guest = join(root, 'build/guests/hello.elf');
const greeting = 'hello from guest';
const memory = '64M';

const microvm = (whole: boolean) => () =>
  command(
    'qemu-system-x86_64',
    [
      ...['-M', 'microvm,x-option-roms=off,isa-serial=on,rtc=on', '-accel', 'kvm', '-cpu', qemuCpu, '-m', memory],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
      ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', guest],
    ],
    { prints: greeting, untilPrinted: !whole },
  );

/** Milliseconds from `start()` to the first output, in this process. */
async function start(): Promise<number> {
  const started = performance.now();
  const vm = await VirtualMachine.start({ memory, boot: { kernel: guest } });
  await vm.console.waitFor(greeting);
  const took = performance.now() - started;
  await vm.exited;
  return took;
}

async function startWarm(): Promise<number> {
  const pool = await prewarm({ vcpus: 1 });
  try {
    return await start();
  } finally {
    await pool[Symbol.asyncDispose]();
  }
}

const tsvmm = () =>
  command(process.execPath, [join(root, 'bin/tsvmm.js'), 'run', '--kernel', guest, '-m', memory], { prints: greeting });

export const bench: Bench = {
  name: 'launch',
  summary: 'start to first output of a tiny guest, against QEMU microvm',
  async unavailable() {
    const noKvm = whyNoKvm();
    if (noKvm !== undefined) return noKvm;
    if (!existsSync(guest)) return 'build/guests/hello.elf is missing: node scripts/build-guests.js';
    return whyNoQemu();
  },
  cases: () => [
    { name: 'start', unit: 'ms', ours: start, peer: { name: 'qemu microvm', measure: microvm(false) } },
    { name: 'start-warm-pool', unit: 'ms', ours: startWarm, peer: { name: 'qemu microvm', measure: microvm(false) } },
    { name: 'command', unit: 'ms', ours: tsvmm, peer: { name: 'qemu microvm', measure: microvm(true) } },
    { name: 'command-against-node', unit: 'ms', ours: tsvmm, peer: nodeAlone },
  ],
};
