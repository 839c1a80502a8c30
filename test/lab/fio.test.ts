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
const engines = [
  { engine: 'io_uring', prefix: [] },
  { engine: 'epoll', prefix: ['perl', '/root/without-io-uring.pl'] },
] as const;

interface DiskKind {
  readonly name: string;
  /** Behind the file's path, as the command line takes it. */
  readonly options: string;
  /** What the guest wrote is in the file. */
  readonly kept: boolean;
}
/** All are disks of one machine: /dev/vdb is the first. */
const kinds: readonly DiskKind[] = [
  { name: 'file', options: '', kept: true },
  { name: 'direct', options: ',cache=direct', kept: true },
  { name: 'unsafe', options: ',cache=unsafe', kept: true },
  { name: 'ephemeral', options: ',ephemeral', kept: false },
];

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
    ];
    await using lab = await openLab({ copy });
    const names = kinds.map(({ name }) => `/root/${name}.img`);
    await lab.exec(['truncate', '-s', `${mebibytes}M`, ...names]);
    const checks = kinds.map(
      (_, i) => `fio --name=v --filename=/dev/vd${'bcdefgh'[i]} ${guestJob} && echo "VERIFIED ${i}"`,
    );
    const words = `console=ttyS0 root=/dev/vda ro ${patient} init=/usr/local/sbin/tsvmm-marker`;
    const { stdout, stderr } = await lab.exec(
      [
        ...[...prefix, 'node', 'bin/tsvmm.js', 'run', '/root/fio.img'],
        ...kinds.flatMap(({ options }, i) => ['--disk', `${names[i]}${options}`]),
        ...['--kernel', '/images/vmlinuz', '--initrd', '/images/initrd.img'],
        ...['--cmdline', `${words} ${guestScript(`cd /run\n${checks.join('\n')}`)}`],
      ],
      { timeout: bootTimeout },
    );
    for (const [i, { name }] of kinds.entries())
      expect(stdout + stderr, `${engine}, ${name}`).toContain(`VERIFIED ${i}\r\n`);

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
