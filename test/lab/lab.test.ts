/** The lab itself: what every other test in this folder stands on. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, expect, test } from 'vitest';
import { full, LabError, lab, openLab } from './support/lab.js';

const folder = mkdtempSync(join(tmpdir(), 'tsvmm-lab-'));
afterAll(() => rmSync(folder, { recursive: true }));

test('it has this Node, KVM, the time of day, and streams and exit codes that stay apart', async () => {
  const before = Date.now();
  const script = `
    const { openSync } = require('node:fs');
    openSync('/dev/kvm', 'r+');
    console.log(JSON.stringify({ version: process.version, cwd: process.cwd(), uid: process.getuid(), now: Date.now() }));
    console.error('this is stderr');
    process.exit(42);`;
  const { stdout, stderr, exitCode } = await lab(['node', '-e', script], { disks: false });
  const seen = JSON.parse(stdout);
  expect(seen).toMatchObject({ version: process.version, cwd: '/project', uid: 0 });
  expect(seen.now).toBeGreaterThanOrEqual(before);
  expect(seen.now).toBeLessThanOrEqual(Date.now());
  expect(stderr).toBe('this is stderr\n');
  expect(exitCode).toBe(42);
});

test('standard input, signals, missing programs and several commands at once', async () => {
  await using machine = await openLab({ disks: false });
  const input = Buffer.alloc(3_000_000, 'tsvmm\n');
  const [echo, missing, killed] = await Promise.all([
    machine.exec(['cat'], { stdin: input }),
    machine.exec(['no-such-program']),
    (async () => {
      const command = machine.start(['sh', '-c', 'echo up; sleep 1000'], { onStdout: () => command.signal('SIGTERM') });
      return command.exited;
    })(),
  ]);
  expect(echo.exitCode).toBe(0);
  expect(Buffer.from(echo.stdout).equals(input)).toBe(true);
  expect(missing).toMatchObject({ exitCode: 127, stderr: expect.stringContaining('no-such-program') });
  expect(killed).toBe(128 + 15);
});

test('a terminal has its size and follows it', async () => {
  await using machine = await openLab({ disks: false });
  let output = '';
  const script =
    '[ -t 0 ] && [ -t 1 ] || exit 1; stty size; until [ "$(stty size)" = "44 111" ]; do sleep 0.2; done; exit 3';
  const command = machine.start(['sh', '-c', script], {
    terminal: { rows: 33, columns: 99 },
    onStdout: (data) => {
      output += data.toString();
      command.resize({ rows: 44, columns: 111 });
    },
  });
  expect(await command.exited).toBe(3);
  expect(output).toBe('33 99\r\n');
});

test('files go in and come back, folders and holes too', async () => {
  writeFileSync(join(folder, 'in.txt'), 'from outside');
  const script = 'cat /data/here.txt && mkdir -p out/deep && echo inside > out/deep/file && truncate -s 3G out/sparse';
  const { stdout, exitCode } = await lab(['sh', '-c', script], {
    disks: false,
    copy: [{ from: join(folder, 'in.txt'), to: '/data/here.txt' }],
    get: [{ from: 'out', to: `${folder}/` }],
  });
  expect({ stdout, exitCode }).toEqual({ stdout: 'from outside', exitCode: 0 });
  expect(readFileSync(join(folder, 'out/deep/file'), 'utf8')).toBe('inside\n');
});

test('the scratch drive survives a power cut with what was flushed, the rest does not survive at all', async () => {
  const scratch = join(folder, 'scratch.raw');
  {
    await using machine = await openLab({ disks: false, scratch });
    const write =
      'mkfs.ext4 -q /run/drives/scratch && mount /run/drives/scratch /mnt && echo kept > /mnt/kept && sync && echo lost > /mnt/lost && echo lost > /root/lost';
    expect(await machine.exec(['sh', '-c', write])).toMatchObject({ exitCode: 0 });
  }
  await using machine = await openLab({ disks: false, scratch });
  const { stdout } = await machine.exec([
    'sh',
    '-c',
    'mount /run/drives/scratch /mnt && ls /mnt /root && cat /mnt/kept',
  ]);
  expect(stdout).toContain('kept\n');
  expect(stdout).not.toContain('lost\n');
});

test('a lab that hangs is killed at its timeout, with what was seen', async () => {
  const failure = await lab(['sh', '-c', 'echo so far; echo on the console > /dev/console; sleep 1000'], {
    disks: false,
    timeout: 15,
  }).catch((error: unknown) => error);
  expect(failure).toBeInstanceOf(LabError);
  expect(failure).toMatchObject({ exitCode: 124 });
  expect(String(failure)).toContain('so far');
  expect(String(failure)).toContain('on the console');
});

if (!full) console.log('skipped: a peer in the lab says nothing of tsvmm and takes minutes: npm run test:full');
test.skipIf(!full)("a peer boots Debian's kernel on the lab's KVM to user space", async () => {
  const command =
    'qemu-system-x86_64 -machine q35 -accel kvm -cpu host -m 512 -nodefaults -display none -serial stdio -no-reboot ' +
    '-kernel /images/vmlinuz -initrd /images/initrd.img -drive file=/images/debian-bare.img,if=virtio,format=raw ' +
    '-append "console=ttyS0 root=/dev/vda rw panic=-1 watchdog_thresh=60 init=/usr/local/sbin/tsvmm-marker tsvmm.marker"';
  const { stdout, exitCode } = await lab(['sh', '-c', command]);
  expect(stdout).toContain('TSVMM-MARKER debian-bare');
  expect(exitCode).toBe(0);
});
