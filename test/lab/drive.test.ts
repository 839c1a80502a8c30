/** Disks that change under Debian: a file system that grows while it is mounted, and another disk in the same drive. */
import { expect, test } from 'vitest';
import { bootTimeout, patient } from './support/disks.js';
import { guestScript, openLab } from './support/lab.js';

/** Follows what the guest says. */
const session = `
import { execFileSync } from 'node:child_process';
import { mkdirSync, writeFileSync } from 'node:fs';
const { Disk, VirtualMachine } = await import('/project/dist/index.js');
const run = (...command) => execFileSync(command[0], command.slice(1), { stdio: 'pipe' }).toString();
run('truncate', '-s', '64M', '/root/first.img');
mkdirSync('/root/content');
writeFileSync('/root/content/file', 'of the second disk');
run('mkfs.ext4', '-q', '-d', '/root/content', '/root/second.img', '100M');
const vm = await VirtualMachine.start({
  disks: [
    { path: '/images/debian-extlinux.img', ephemeral: true },
    { path: '/root/first.img', removable: true, limit: { bytesPerSecond: '100M' } },
  ],
  boot: { append: process.env.APPEND },
});
let output = '';
const warnings = [];
vm.on('warning', ({ message }) => warnings.push(message));
vm.console.on('data', (chunk) => (output += chunk.toString('latin1')));
let done = false;
vm.exited.then(() => done || process.exit(console.log(output) ?? 1));
const said = (text) => vm.console.waitFor(text);
const drive = vm.disks[1];
await said('READY 131072');
await drive.resize('128M');
await said('UNMOUNTED');
await drive.swap(null);
await said('EMPTY');
drive.setLimit(null);
await drive.swap(await Disk.open('/root/second.img'));
done = true;
const { reason } = await vm.exited;
const check = run('e2fsck', '-fn', '/root/first.img');
run('debugfs', '-R', 'dump /kept /root/kept', '/root/first.img');
console.log(JSON.stringify({ reason, output, warnings, check, kept: run('cat', '/root/kept') }));
`;

const script = `
until_size() { while [ "$(cat /sys/block/vdb/size)" != "$1" ]; do sleep 0.2; done; }
mkfs.ext4 -q /dev/vdb && mount /dev/vdb /mnt && echo kept > /mnt/kept
echo "READY $(cat /sys/block/vdb/size)"
until_size 262144
dmesg | grep 'vdb: detected'
resize2fs /dev/vdb > /dev/null 2>&1 && echo "GROWN $(stat -f -c %b /mnt)"
dd if=/dev/zero of=/mnt/large bs=1M count=90 conv=fsync 2> /dev/null && echo "FILLED $(stat -c %s /mnt/large)"
umount /mnt && echo UNMOUNTED
until_size 0
dd if=/dev/vdb of=/dev/null count=1 2> /dev/null; echo "EMPTY"
until_size 204800
mount /dev/vdb /mnt && echo "SECOND $(cat /mnt/file)" && umount /mnt`;

test('a mounted disk grows, and gives its drive to another', async () => {
  await using lab = await openLab();
  const append = `${patient} init=/usr/local/sbin/tsvmm-marker ${guestScript(script)}`;
  const { stdout, stderr, exitCode } = await lab.exec(['node', '--input-type=module', '-e', session], {
    timeout: bootTimeout,
    env: { APPEND: append },
  });
  expect({ exitCode, stderr, stdout: stdout.slice(-2000) }).toMatchObject({
    exitCode: 0,
    stderr: '',
    stdout: expect.stringContaining('power-off'),
  });
  const { reason, output, warnings, check, kept } = JSON.parse(stdout) as Record<string, string>;
  expect({ reason, warnings, output: output!.slice(-2000) }).toMatchObject({ reason: 'power-off', warnings: [] });
  expect(output).toMatch(/vdb: detected capacity change from 131072 to 262144/);
  expect(Number(/GROWN (\d+)/.exec(output!)![1]) * 1024).toBeGreaterThan(100 * 2 ** 20);
  expect(output).toContain(`FILLED ${90 * 2 ** 20}`);
  expect(output).toContain('SECOND of the second disk');
  expect({ check, kept }).toEqual({ check: expect.stringContaining('/root/first.img:'), kept: 'kept\n' });
});
