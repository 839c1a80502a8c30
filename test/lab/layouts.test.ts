/**
 * Which kernel of a disk boots: that of the entry which its boot loader's own program calls the default. Where a disk has a
 * second kernel, it is an older version that would not boot.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { ExitCode } from '../../src/cli/exit-codes.js';
import { bootTimeout, defaultEntry, diskNamed, disks, partitionStart, patient } from './support/disks.js';
import { guestScript, type Lab, openLab } from './support/lab.js';

/** A file of a partition, as Linux reads it. */
async function fileOn(lab: Lab, name: string, partition: number, path: string): Promise<string> {
  const image = `/images/${name}.img`;
  const start = await partitionStart(lab, image, partition);
  const script = `mkdir -p /mnt && mount -o ro,loop,offset=${start} ${image} /mnt && cat /mnt${path} && umount /mnt`;
  const { stdout, stderr, exitCode } = await lab.exec(['sh', '-c', script]);
  if (exitCode !== 0) throw new Error(`${path} of ${name} cannot be read: ${stderr}`);
  return stdout;
}

/** The kernel's name in the entry that GRUB 2.06 takes from this configuration. */
function chosenByGrub(config: string): string {
  const directory = mkdtempSync(join(tmpdir(), 'tsvmm-grub-'));
  try {
    const script = config
      .replace(/^\s*linux\s+(\S+).*$/gm, 'echo "chose=$1="\nhalt')
      .replace(/^\s*terminal_output\s.*$/gm, '') // a terminal that shows pictures says nothing here
      .replace(/set timeout=\d+/g, 'set timeout=0');
    writeFileSync(join(directory, 'grub.cfg'), script);
    const { stdout } = spawnSync('grub-emu', ['-d', directory], {
      input: '',
      timeout: 60_000,
      env: { ...process.env, TERM: 'dumb' },
      encoding: 'utf8',
    });
    return basename(/chose=([^=\s]+)=/.exec(stdout)?.[1] ?? `nothing: ${stdout}`);
  } finally {
    rmSync(directory, { recursive: true });
  }
}

describe('image inspect agrees', () => {
  test.each([
    ['debian-gpt', 1, '/boot/grub/grub.cfg'],
    ['debian-mbr', 1, '/grub/grub.cfg'],
    ['debian-xfs', 2, '/grub/grub.cfg'],
  ] as const)('with GRUB about %s', async (name, partition, path) => {
    await using lab = await openLab();
    const entry = await defaultEntry(lab, diskNamed(name));
    expect(entry.loader).toBe('grub');
    expect(basename(entry.kernel!.path)).toBe(chosenByGrub(await fileOn(lab, name, partition, path)));
  });

  test.each(['debian-sdboot', 'debian-uki'] as const)('with bootctl about %s', async (name) => {
    await using lab = await openLab();
    const said = await fileOn(lab, name, 2, '/root/bootctl');
    const entry = await defaultEntry(lab, diskNamed(name));
    expect(entry.loader).toBe('systemd-boot');
    expect(entry.id).toBe(/title: .*\(default\).*\n\s*id: (\S+)/.exec(said)?.[1]);
  });
});

/** How many devices of virtio have message-signalled interrupts, and lines. */
const interrupts = `
echo "INTERRUPTS $(grep -c 'PCI-MSI.*virtio' /proc/interrupts) $(grep -c 'IO-APIC.*fasteoi.*virtio' /proc/interrupts)"
test -e /lib/modules/$(uname -r)`;

describe('without systemd', () => {
  test.each([
    { name: 'debian-extlinux', words: 'pci=nomsi', told: /INTERRUPTS 0 [1-9]/ }, // INTx, shared lines and all
    { name: 'debian-xfs', words: '', told: /INTERRUPTS [2-9] 0/ },
  ] as const)('$name boots its own kernel $words', async ({ name, words, told }) => {
    await using lab = await openLab();
    expect((await defaultEntry(lab, diskNamed(name))).loader).toBe(disks.find((disk) => disk.name === name)!.loader);
    const append = `${patient} ${words} tsvmm.marker init=/usr/local/sbin/tsvmm-marker ${guestScript(interrupts)}`;
    const command = ['node', 'bin/tsvmm.js', 'run', `/images/${name}.img`, '--append', append];
    const { stdout, stderr, exitCode } = await lab.exec(command, { timeout: bootTimeout });
    expect({ exitCode, stderr, stdout: stdout.slice(-2000) }).toMatchObject({ exitCode: ExitCode.ok });
    expect(stdout).toContain(`TSVMM-MARKER ${name}`);
    expect(stdout).toMatch(told);
    expect(stdout).toContain('TSVMM-EXIT 0');
  });
});
