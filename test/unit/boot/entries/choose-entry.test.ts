/** `boot.entry`, and what is said where nothing can be booted. */
import { describe, expect, test } from 'vitest';
import type { BootEntry } from '../../../../src/boot/entries/boot-entry.js';
import { chooseEntry } from '../../../../src/boot/entries/choose-entry.js';
import type { DiskInspection, InspectedPartition } from '../../../../src/boot/entries/inspection.js';

const entry = (path: string, more: Partial<BootEntry> = {}): BootEntry => ({
  kind: 'grub',
  title: path.split('>').at(-1) ?? '',
  id: `id-${path}`,
  path,
  indexPath: '0',
  kernel: { partition: 1, path: '/k' },
  initrds: [],
  cmdline: '',
  source: { partition: 1, path: '/boot/grub/grub.cfg' },
  problem: undefined,
  ...more,
});

const inspection = (entries: BootEntry[], more: Partial<DiskInspection> = {}): DiskInspection => ({
  size: 0,
  scheme: 'gpt',
  sectorSize: 512,
  partitions: [],
  entries,
  defaultEntry: entries.length > 0 ? 0 : undefined,
  fileSystems: new Map(),
  problems: [],
  ...more,
});

const partition = (index: number, more: Partial<InspectedPartition> = {}): InspectedPartition => ({
  index,
  start: 0,
  size: 0,
  type: '',
  typeName: '',
  name: '',
  uuid: '',
  bootable: false,
  fileSystem: undefined,
  contents: undefined,
  hint: undefined,
  notes: [],
  ...more,
});

const disk = inspection([
  entry('Debian GNU/Linux'),
  entry('Advanced options>Debian GNU/Linux, with Linux 6.1', { indexPath: '1>0' }),
  entry('Advanced options>Debian GNU/Linux, with Linux 6.1 (recovery mode)', { indexPath: '1>1' }),
  entry('3'),
  entry('Windows', { kernel: undefined, problem: 'hands over to another boot loader' }),
]);

describe('a selector', () => {
  test.each([
    [undefined, 'Debian GNU/Linux'],
    [1, 'Debian GNU/Linux'],
    [2, 'Debian GNU/Linux, with Linux 6.1'],
    ['2', 'Debian GNU/Linux, with Linux 6.1'],
    ['3', '3'],
    ['Debian GNU/Linux', 'Debian GNU/Linux'],
    ['id-3', '3'],
    ['Advanced options>Debian GNU/Linux, with Linux 6.1', 'Debian GNU/Linux, with Linux 6.1'],
    ['1>1', 'Debian GNU/Linux, with Linux 6.1 (recovery mode)'],
    ['RECOVERY', 'Debian GNU/Linux, with Linux 6.1 (recovery mode)'],
  ])('%j', (selector, title) => expect(chooseEntry(disk, selector).title).toBe(title));
});

describe('a selector that names nothing', () => {
  test.each([
    [0, 'there is no boot entry 0; the disk offers:\n  1  Debian GNU/Linux\n  2  Advanced'],
    [1.5, 'there is no boot entry 1.5'],
    ['17', 'there is no boot entry 17'],
    ['Gentoo', "no boot entry is called 'Gentoo'"],
    ['linux 6.1', "2 boot entries have 'linux 6.1' in their title"],
    ['', "5 boot entries have '' in their title"],
  ])('%j', (selector, message) => {
    expect(() => chooseEntry(disk, selector)).toThrow(
      expect.objectContaining({
        code: 'ERR_TSVMM_BOOT_NOT_FOUND',
        message: expect.stringContaining(message),
        hint: expect.stringContaining('boot.entry'),
      }),
    );
  });
});

test('an entry that cannot be booted', () => {
  expect(() => chooseEntry(disk, 'Windows')).toThrow(
    "the boot entry 'Windows' cannot be booted: hands over to another boot loader",
  );
});

test('the error of a disk without Linux says what is on it and what to do', () => {
  const partitions = [
    partition(1, { typeName: 'EFI System', fileSystem: { type: 'fat32', label: '', uuid: '' } }),
    partition(2, { name: 'root', contents: 'ZFS', hint: 'tsvmm does not read ZFS yet: keep /boot on ext4 or FAT.' }),
    partition(3, { contents: 'cannot be read', notes: ['the superblock is damaged'] }),
    partition(4),
  ];
  expect(() =>
    chooseEntry(inspection([], { partitions, problems: ['/boot/grub/grub.cfg offers nothing to boot'] })),
  ).toThrow(
    expect.objectContaining({
      code: 'ERR_TSVMM_BOOT_NOT_FOUND',
      hint: 'Pass a kernel with boot: { kernel, initrd, cmdline }.',
      message: `no bootable Linux was found on the disk:
  partition 1 (EFI System): fat32 without a boot configuration or kernel that can be used
  partition 2 ("root"): ZFS. tsvmm does not read ZFS yet: keep /boot on ext4 or FAT.
  partition 3: cannot be read. the superblock is damaged
  partition 4: nothing that is recognised
  /boot/grub/grub.cfg offers nothing to boot`,
    }),
  );
});

test('a disk without a partition table, and entries of which none can be booted', () => {
  const windows = entry('Windows', { kernel: undefined, problem: 'hands over' });
  const found = inspection([windows], {
    scheme: 'none',
    partitions: [partition(0, { contents: 'LUKS' })],
    defaultEntry: undefined,
  });
  expect(() => chooseEntry(found)).toThrow(
    "the disk, which has no partition table: LUKS\n  boot entry 'Windows': hands over",
  );
});

test('text of the image cannot steer the terminal', () => {
  const evil = inspection([entry('\u001b[2Jevil\u202e')]);
  expect(() => chooseEntry(evil, 7)).toThrow('1  \\u001b[2Jevil\\u202e');
});

test('long lists are shortened', () => {
  const many = inspection(Array.from({ length: 100 }, (_, i) => entry(`entry ${i}`)));
  expect(() => chooseEntry(many, 0)).toThrow(/20 {2}entry 19\n {2}\.\.\. 80 more$/);
});
