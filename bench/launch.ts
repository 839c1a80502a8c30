/**
 * How long until a tiny guest's first output: in a running process, from the warm pool, and as a command. The peer is QEMU's
 * microvm with the same guest on the same KVM.
 */
import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { prewarm, VirtualMachine } from 'tsvmm';
import { type Bench, cleanEnvironment, whyNoKvm, whyNoQemu } from './harness.js';

const root = process.cwd(); // npm runs scripts in the package's folder
const guest = join(root, 'build/guests/hello.elf');
const greeting = 'hello from guest';
const memory = '64M';

/** Milliseconds until the command has printed the greeting, or (`whole`) has ended. */
function command(file: string, args: readonly string[], whole: boolean): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(file, args, { stdio: ['ignore', 'pipe', 'ignore'], env: cleanEnvironment() });
    let output = '';
    let greeted = 0;
    child.stdout.on('data', (chunk: Buffer) => {
      output += chunk.toString('latin1');
      if (greeted === 0 && output.includes(greeting)) greeted = performance.now() - started;
    });
    child.once('error', reject);
    child.once('close', () => {
      const took = whole ? performance.now() - started : greeted;
      if (greeted > 0 || args[0] === '-e') resolve(took);
      else reject(new Error(`${file} ${args.join(' ')}: the guest did not print its greeting`));
    });
  });
}

const microvm = (whole: boolean) => () =>
  command(
    'qemu-system-x86_64',
    [
      ...['-M', 'microvm,x-option-roms=off,isa-serial=on,rtc=on', '-accel', 'kvm', '-cpu', 'host', '-m', memory],
      ...['-nodefaults', '-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot'],
      ...['-device', 'isa-debug-exit,iobase=0xf4,iosize=4', '-kernel', guest],
    ],
    whole,
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
  command(process.execPath, [join(root, 'bin/tsvmm.js'), 'run', '--kernel', guest, '-m', memory], true);

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
    {
      name: 'command-against-node',
      unit: 'ms',
      ours: tsvmm,
      peer: { name: 'node -e 0', measure: () => command(process.execPath, ['-e', '0'], true) },
    },
  ],
};
