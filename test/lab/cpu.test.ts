/**
 * What a stock Debian makes of sockets, cores and threads, of a model that masks features, and of nested virtualization,
 * on the AMD processor of the lab.
 */
import { expect, test } from 'vitest';
import { guestScript, openLab } from './support/lab.js';

const questions = `
exec > /root/answers
lscpu -p=CPU,SOCKET,CORE | grep -v '^#' | tr '\\n' ' ' | sed 's/^/places: /'; echo
lscpu -p=CPU,CACHE | sed -n '$p' | sed 's/^/caches: /'
echo "shape: $(lscpu | grep -E '^(CPU\\(s\\)|Socket|Core|Thread)' | tr -s ' ' | tr '\\n' ',')"
echo "masked: $(grep -m1 ^flags /proc/cpuinfo | tr ' ' '\\n' | grep -cxE 'avx|avx2|fma|f16c|xsave|sha_ni')"
echo "svm: $(grep -m1 -o -w svm /proc/cpuinfo)"
modprobe kvm_amd; echo "kvm: $(ls /dev/kvm)"
echo "errors: $(dmesg | grep -ciE 'soft lockup|Call Trace|firmware bug|mismatch|broken')"
sync
`;

test('lscpu shows the topology, a model masks, and a guest with svm has a /dev/kvm of its own', async () => {
  await using lab = await openLab();
  const run = ['node', 'bin/tsvmm.js', 'run', '/images/debian-bare.img', '-c', 'sockets=2,cores=1,threads=2'];
  const words = `quiet watchdog_thresh=60 init=/usr/local/sbin/tsvmm-marker ${guestScript(`mount -o remount,rw /${questions}`)}`;
  const { stderr, exitCode } = await lab.exec([...run, '--cpu', 'x86-64-v2,+svm', '--append', words], { timeout: 800 });
  expect({ exitCode, stderr }).toMatchObject({ exitCode: 0 });
  const { stdout } = await lab.exec(['debugfs', '-R', 'cat /root/answers', '/images/debian-bare.img']);
  const said = Object.fromEntries(
    [...stdout.matchAll(/^(\w+): (.*?)$/gm)].map(([, name, value]) => [name!, value!.trim()]),
  );
  expect(said['shape']).toBe('CPU(s): 4,Thread(s) per core: 2,Core(s) per socket: 1,Socket(s): 2,');
  expect(said['places']).toBe('0,0,0 1,0,0 2,1,1 3,1,1');
  expect(said).toMatchObject({ masked: '0', svm: 'svm', kvm: '/dev/kvm', errors: '0' });
});
