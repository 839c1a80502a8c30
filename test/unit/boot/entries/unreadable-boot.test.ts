/**
 * A /boot that is not read, behind an EFI System Partition that is: the disk is refused with the name of what holds /boot and
 * what to do. Made by each format's own tool; LVM, RAID and ZFS, whose tools want block devices, by their superblocks.
 */
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { chooseEntry, findBootEntries } from '../../../../src/boot/disk-boot.js';
import { renderInspection } from '../../../../src/boot/inspect.js';
import { haveTools, load, noise, run, scratch } from '../fs/images.js';
import { buildPe } from '../pe/build-pe.js';
import { espImage, gptDisk, MiB, type PartitionImage } from './partition-images.js';

const folder = scratch();
const ready = haveTools('sfdisk', 'mkfs.fat', 'mcopy');
let made = 0;

const uuid = '6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001';
/** As Fedora's grub2-install leaves it on the EFI System Partition. */
const leadsOn = Buffer.from(
  `search --no-floppy --root-dev-only --fs-uuid --set=dev ${uuid}\nset prefix=($dev)/grub2\nexport $prefix\nconfigfile $prefix/grub.cfg\n`,
);

/** Made by a tool from an empty file. */
function byTool(size: number, tool: string, ...args: string[]): string {
  const path = join(folder, `${++made}.img`);
  run('truncate', ['-s', String(size), path]);
  run(tool, [...args, path]);
  return path;
}

function bySuperblock(size: number, at: number, bytes: Buffer): string {
  const path = join(folder, `${++made}.img`);
  const content = Buffer.alloc(size);
  bytes.copy(content, at);
  writeFileSync(path, content);
  return path;
}

const linuxType = '0FC63DAF-8483-4772-8E79-3D69D8477DE4';
const boot = (image: string, size: number, type = linuxType): PartitionImage => ({ type, name: 'boot', image, size });

const luks = ['luksFormat', '-q', '--pbkdf-force-iterations', '1000', '--key-file', '/etc/hostname', '--type', 'luks2'];
const cases: [name: string, tool: string | undefined, make: () => PartitionImage, remedy: RegExp][] = [
  [
    'btrfs',
    'mkfs.btrfs',
    () => boot(byTool(128 * MiB, 'mkfs.btrfs', '-q', '-f', '-U', uuid), 128 * MiB),
    /keep \/boot on ext4, XFS or FAT, or give the kernel directly, boot: \{ kernel/,
  ],
  [
    'LUKS',
    'cryptsetup',
    () => boot(byTool(20 * MiB, 'cryptsetup', ...luks, '--pbkdf', 'pbkdf2'), 20 * MiB),
    /inside an encrypted partition cannot be reached before boot: keep \/boot outside it/,
  ],
  [
    'LVM2 physical volume',
    undefined,
    () => boot(bySuperblock(4 * MiB, 512, Buffer.from('LABELONE')), 4 * MiB, 'E6D6D379-F507-44C2-A23C-238F2A3DF928'),
    /inside LVM cannot be reached before boot/,
  ],
  [
    'Linux RAID member',
    undefined,
    () =>
      boot(
        bySuperblock(4 * MiB, 4096, Buffer.from('fc4e2ba901000000', 'hex')),
        4 * MiB,
        'A19D880F-05FC-4D3B-A006-743F0F84911E',
      ),
    /inside a RAID cannot be reached before boot/,
  ],
  [
    'ZFS',
    undefined,
    () => boot(bySuperblock(4 * MiB, 132 * 1024, Buffer.from('0cb1ba0000000000', 'hex')), 4 * MiB),
    /tsvmm does not read ZFS yet: keep \/boot on/,
  ],
];

describe.runIf(ready)('/boot cannot be read', () => {
  test.for(cases)('on %s', async ([name, tool, make, remedy], context) => {
    if (tool !== undefined && !haveTools(tool)) context.skip(`${tool} is not installed`);
    const disk = load(gptDisk(folder, [espImage(folder, { 'EFI/fedora/grub.cfg': leadsOn }), make()]));
    const inspection = await findBootEntries(disk);
    expect(inspection.partitions[1]).toMatchObject({ contents: name, hint: expect.stringMatching(remedy) });
    expect(renderInspection(inspection)).toMatch(new RegExp(`^2 .* ${name} .*\\n {2}note: `, 'm'));
    let message = '';
    try {
      chooseEntry(inspection);
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain('partition 1 (EFI System "EFI System Partition"): fat');
    expect(message).toMatch(new RegExp(`partition 2 \\(.*"boot"\\): ${name}\\. `));
    expect(message).toMatch(remedy);
    expect(message).toContain('/EFI/fedora/grub.cfg of partition 1 offers nothing to boot');
  });

  test('a root file system that is not read is no obstacle where the kernel lies on the EFI System Partition', async () => {
    const image = buildPe([
      { name: '.osrel', data: 'PRETTY_NAME=Sealed\n' },
      { name: '.cmdline', data: 'rd.luks.uuid=1' },
      { name: '.linux', data: noise(5000) },
    ]);
    const root = boot(bySuperblock(4 * MiB, 0, Buffer.from('4c554b53babe0002', 'hex')), 4 * MiB);
    const disk = load(gptDisk(folder, [espImage(folder, { 'EFI/Linux/sealed.efi': image }), root]));
    const inspection = await findBootEntries(disk);
    expect(inspection.partitions[1]?.contents).toBe('LUKS');
    expect(chooseEntry(inspection)).toMatchObject({ title: 'Sealed', cmdline: 'rd.luks.uuid=1' });
  });
});
