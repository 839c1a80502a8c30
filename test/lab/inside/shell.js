/** A shell out of Debian's initramfs, forked for each test; and a command typed there. Runs in the lab. */
import { readdirSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { vmTest } from 'tsvmm/testing';

const newest = (kind) =>
  `/boot/${readdirSync('/boot')
    .filter((name) => name.startsWith(kind))
    .sort()
    .at(-1)}`;

let number = 1000;

/** What a command prints. What the shell echoes is not what it says: the sum is the shell's. */
export async function ask(vm, command) {
  number++;
  const from = vm.console.tail.length;
  vm.console.write(`${command}; echo said $((${number}+${number}))\n`);
  const answer = new RegExp(`\n([^]*)said ${2 * number}\r\n`);
  while (!answer.test(vm.console.tail.slice(from))) {
    if (vm.state !== 'running') throw new Error(`the machine is ${vm.state}`);
    await delay(20);
  }
  return answer.exec(vm.console.tail.slice(from))[1].replaceAll('\r', '').trim();
}

/** The same, when nothing but that one line is of interest: what comes before may be the rest of a long echo. */
export const line = async (vm, command) => (await ask(vm, command)).split('\n').at(-1).trim();

/** @param {import('tsvmm').VmOptions} options */
export const shellTest = (options = {}) =>
  vmTest({
    memory: '384M',
    cpus: 2,
    onReboot: 'exit', // which is what panic=-1 comes to
    ...options,
    boot: {
      kernel: newest('vmlinuz-'),
      initrd: newest('initrd.img-'),
      cmdline: 'console=ttyS0 rdinit=/bin/sh quiet panic=-1 rcupdate.rcu_cpu_stall_timeout=120', // see test/lab/pause.test.ts
    },
    timeout: '10m',
    ready: async (vm) => {
      await vm.console.waitFor('# ');
      const mounts = ['proc', 'sysfs sys', 'devtmpfs dev'].map((one) => {
        const [type, place = type] = one.split(' ');
        return `mkdir -p /${place}; mount -t ${type} ${type} /${place}`;
      });
      for (const mount of mounts) await ask(vm, mount);
      await ask(
        vm,
        'dmesg -n 1; for one in virtio_pci virtio_blk; do modprobe $one; done; while ! [ -e /dev/vda ]; do sleep 1; done',
      );
    },
  });
