/**
 * fio in a Debian guest writes blocks of mixed sizes and verifies each by its checksum, with both I/O engines and on every
 * kind of disk; what the guest wrote to a file is then verified on the host, by the same fio with the same job.
 */
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ensureFioDisk } from '../../scripts/lab/index.js';
import { bootTimeout, patient } from './support/disks.js';
import { full, guestScript, openLab } from './support/lab.js';

const wrapper = join(import.meta.dirname, 'programs/without-io-uring.pl');
const module = join(import.meta.dirname, 'programs/file-disk.js');
const engines = [
  { engine: 'io_uring', prefix: [] },
  { engine: 'epoll', prefix: ['perl', '/root/without-io-uring.pl'] },
] as const;

interface DiskKind {
  readonly name: string;
  /** As `disks` takes it; `module`: a disk of the module of that path. */
  readonly disk: (path: string) => object;
  /** What the guest wrote is in the file. */
  readonly kept: boolean;
}
/** All are disks of one machine: /dev/vdb is the first. */
const kinds: readonly DiskKind[] = [
  { name: 'file', disk: (path) => ({ path }), kept: true },
  { name: 'direct', disk: (path) => ({ path, cache: 'direct' }), kept: true },
  { name: 'unsafe', disk: (path) => ({ path, cache: 'unsafe' }), kept: true },
  { name: 'ephemeral', disk: (path) => ({ path, ephemeral: true }), kept: false },
  { name: 'module', disk: (path) => ({ module: '/root/file-disk.mjs', data: path }), kept: true },
];

/** In the lab: a machine with these disks, which says all that is to be known of it. */
const session = `
import { pathToFileURL } from 'node:url';
import { Disk, VirtualMachine } from './dist/index.js';
const { disks, cmdline } = JSON.parse(process.env.MACHINE);
const vm = await VirtualMachine.start({
  disks: disks.map((disk) => disk.module ? Disk.fromModule(pathToFileURL(disk.module), disk.data) : disk),
  boot: { kernel: '/images/vmlinuz', initrd: '/images/initrd.img', cmdline },
});
vm.on('warning', ({ message }) => console.error(message));
vm.console.on('data', (chunk) => process.stdout.write(chunk));
const { reason } = await vm.exited;
if (reason !== 'power-off') console.error(reason);
`;

const mebibytes = full ? 64 : 8;
/** Odd sizes as well, which lie across pages; direct, so that every request reaches the disk. */
const job = [
  ...['--rw=randwrite', '--verify=crc32c', '--verify_fatal=1', `--size=${mebibytes}M`, '--thread', '--minimal'],
  ...['--bssplit=512/20:1536/10:4k/40:12k/10:64k/15:512k/5', '--randrepeat=1', '--verify_state_save=0'],
].join(' ');
const guestJob = `${job} --ioengine=libaio --iodepth=32 --direct=1`;

describe.each(engines)('fio by $engine', ({ engine, prefix }) => {
  test('reads what it wrote, on every kind of disk', { timeout: bootTimeout * 2000 }, async () => {
    const copy = [
      { from: await ensureFioDisk(), to: '/root/fio.img' },
      { from: wrapper, to: '/root/' },
      { from: module, to: '/root/file-disk.mjs' },
    ];
    await using lab = await openLab({ copy });
    const names = kinds.map(({ name }) => `/root/${name}.img`);
    await lab.exec(['truncate', '-s', `${mebibytes}M`, ...names]);
    const letters = kinds.map((_, i) => 'bcdefgh'[i]!);
    const script = `cd /run
for d in ${letters.join(' ')}; do fio --name=v --filename=/dev/vd$d ${guestJob} && echo "VERIFIED $d"; done`;
    const words = `console=ttyS0 root=/dev/vda ro ${patient} init=/usr/local/sbin/tsvmm-marker`;
    const machine = {
      disks: [{ path: '/root/fio.img', readOnly: true }, ...kinds.map(({ disk }, i) => disk(names[i]!))],
      cmdline: `${words} ${guestScript(script)}`,
    };
    const { stdout, stderr } = await lab.exec([...prefix, 'node', '--input-type=module', '-e', session], {
      timeout: bootTimeout,
      env: { MACHINE: JSON.stringify(machine) },
    });
    for (const [i, { name }] of kinds.entries())
      expect(stdout + stderr, `${engine}, ${name}`).toContain(`VERIFIED ${letters[i]}\r\n`);
    expect(stderr).toBe('');

    const shell = (script: string) => lab.exec(['sh', '-ec', script], { timeout: bootTimeout });
    await shell('mount -o loop,ro /root/fio.img /mnt; mount -t tmpfs tmpfs /mnt/run');
    const verify = (image: string) =>
      shell(`touch /mnt/run/disk; mount --bind ${image} /mnt/run/disk
        trap "umount /mnt/run/disk" EXIT
        chroot /mnt sh -c "cd /run && fio --name=v --filename=/run/disk --verify_only ${job} --ioengine=psync"`);
    for (const [i, { name, kept }] of kinds.entries()) {
      const image = names[i]!;
      if (!kept) {
        expect(await shell(`cmp -n ${mebibytes * 2 ** 20} ${image} /dev/zero`), name).toMatchObject({ exitCode: 0 });
        continue;
      }
      expect(await verify(image), name).toMatchObject({ exitCode: 0 });
      // And it would have told.
      await shell(`printf wrong | dd of=${image} bs=1 seek=${mebibytes * 2 ** 19 + 99} conv=notrunc`);
      expect((await verify(image)).exitCode, name).not.toBe(0);
    }
  });
});

test('what runs without io_uring runs without it', async () => {
  await using lab = await openLab({ disks: false, copy: [{ from: wrapper, to: '/root/' }] });
  const setup = 'my $p = "\\0" x 120; exit(syscall(425, 1, $p) < 0 ? $!{EPERM} ? 1 : 2 : 0)';
  const { exitCode: plain } = await lab.exec(['perl', '-e', setup]);
  const { exitCode: wrapped } = await lab.exec(['perl', '/root/without-io-uring.pl', 'perl', '-e', setup]);
  expect({ plain, wrapped }).toEqual({ plain: 0, wrapped: 1 });
});
