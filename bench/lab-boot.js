/**
 * Runs inside the lab: boots the stock Debian kernel and initrd once, under the monitor that is named, and prints two
 * figures as JSON: milliseconds from the first KVM_RUN to the marker of user space, and of the whole command.
 *
 *   node lab-boot.js tsvmm | q35 | microvm
 *
 * QEMU is started stopped and let go through QMP, so that its own start does not count as the guest's.
 */
import { spawn } from 'node:child_process';
import { connect } from 'node:net';
import { setTimeout as delay } from 'node:timers/promises';

const marker = 'TSVMM-MARKER';
const disk = '/images/debian-bare.img';
const kernel = ['/images/vmlinuz', '/images/initrd.img'];
const words = 'root=/dev/vda ro quiet panic=-1 watchdog_thresh=60 console=ttyS0 init=/usr/local/sbin/tsvmm-marker';
const cmdline = `${words} tsvmm.marker`;
const monitor = '/tmp/bench-boot.qmp';

/** @type {Record<string, string[]>} */
const commands = {
  tsvmm: [
    ...[process.execPath, '/project/bin/tsvmm.js', 'run', disk, '--ephemeral', '--json'],
    ...['-m', '512M', '--kernel', kernel[0], '--initrd', kernel[1], '--cmdline', cmdline],
  ],
  q35: qemu(['-M', 'q35'], 'virtio-blk-pci'),
  microvm: qemu(['-M', 'microvm,pcie=off,rtc=on,isa-serial=on,acpi=on'], 'virtio-blk-device'),
};

/** @param {string[]} machine @param {string} device */
function qemu(machine, device) {
  return [
    ...['qemu-system-x86_64', ...machine, '-accel', 'kvm', '-cpu', 'host', '-m', '512', '-nodefaults'],
    ...['-no-user-config', '-display', 'none', '-serial', 'stdio', '-no-reboot', '-S'],
    ...['-qmp', `unix:${monitor},server=on,wait=off`, '-drive', `file=${disk},if=none,id=d,format=raw,snapshot=on`],
    ...['-device', `${device},drive=d`, '-kernel', kernel[0], '-initrd', kernel[1], '-append', cmdline],
  ];
}

/** Lets a stopped QEMU go; resolves when it does. */
async function release() {
  for (let attempt = 0; attempt < 600; attempt++) {
    const socket = connect(monitor);
    const answered = new Promise((resolve, reject) => socket.once('data', resolve).once('error', reject));
    try {
      await answered;
      socket.write('{"execute":"qmp_capabilities"}\n{"execute":"cont"}\n');
      return;
    } catch {
      await delay(50); // it does not listen yet
    }
  }
  throw new Error('QEMU does not answer its monitor');
}

const which = process.argv[2] ?? '';
const command = commands[which];
if (command === undefined) throw new Error(`no monitor "${which}": tsvmm, q35 or microvm`);
const started = performance.now();
const child = spawn(command[0], command.slice(1), { stdio: ['ignore', 'pipe', 'pipe'] });
let entered = 0;
let marked = 0;
let output = '';
/** @param {Buffer} chunk */
const watch = (chunk) => {
  output += chunk.toString('latin1');
  if (entered === 0 && which === 'tsvmm' && output.includes('"event":"started"')) entered = performance.now();
  if (marked === 0 && output.includes(marker)) marked = performance.now();
};
child.stdout.on('data', watch);
child.stderr.on('data', watch);
if (which !== 'tsvmm') {
  await release();
  entered = performance.now();
}
await new Promise((resolve) => child.once('close', resolve));
if (entered === 0 || marked === 0) throw new Error(`no marker under ${which}:\n${output.slice(-2000)}`);
console.log(JSON.stringify({ guest: marked - entered, whole: performance.now() - started }));
process.exit();
