/** What `tsvmm image inspect` prints. */
import { describe, expect, test } from 'vitest';
import type { BootEntry } from '../../../src/boot/entries/boot-entry.js';
import type { DiskInspection } from '../../../src/boot/entries/inspection.js';
import { formatSize, inspectionJson, renderInspection } from '../../../src/boot/inspect.js';

const MiB = 1 << 20;
const entry: BootEntry = {
  kind: 'grub',
  title: 'Debian GNU/Linux',
  id: 'gnulinux-simple',
  path: 'Debian GNU/Linux',
  indexPath: '0',
  kernel: { partition: 2, path: '/boot/vmlinuz-6.1' },
  initrds: [{ partition: 2, path: '/boot/initrd.img-6.1' }],
  cmdline: 'BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=x ro quiet',
  source: { partition: 2, path: '/boot/grub/grub.cfg' },
  problem: undefined,
};
const none = { fileSystem: undefined, contents: undefined, hint: undefined, notes: [], bootable: false };

const disk: DiskInspection = {
  size: 2048 * MiB,
  scheme: 'gpt',
  sectorSize: 512,
  partitions: [
    {
      ...none,
      index: 1,
      start: MiB,
      size: 64 * MiB,
      type: 'c12a…',
      typeName: 'EFI System',
      name: 'esp',
      uuid: 'u1',
      fileSystem: { type: 'fat32', label: 'EFI', uuid: 'A1B2-C3D4' },
    },
    {
      ...none,
      index: 2,
      start: 65 * MiB,
      size: 1900 * MiB,
      type: '0fc6…',
      typeName: 'Linux filesystem',
      name: '',
      uuid: 'u2',
      fileSystem: { type: 'ext4', label: '', uuid: '6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001' },
      notes: ['the journal was replayed in memory'],
    },
    {
      ...none,
      index: 3,
      start: 1965 * MiB,
      size: 83 * MiB,
      type: 'abcd',
      typeName: '',
      name: '',
      uuid: '',
      contents: 'ZFS',
      hint: 'keep /boot on ext4',
    },
  ],
  entries: [
    entry,
    {
      ...entry,
      title: 'Windows',
      path: 'More>Windows',
      kernel: undefined,
      initrds: [],
      cmdline: '',
      problem: 'needs firmware',
    },
    {
      ...entry,
      kind: 'uki',
      title: 'Arch Linux',
      id: 'arch.efi',
      path: 'Arch Linux',
      kernel: { partition: 1, path: '/EFI/Linux/arch.efi', section: { name: '.linux', offset: 4096, size: 512 } },
      initrds: [],
      cmdline: 'quiet',
      source: { partition: 1, path: '/EFI/Linux/arch.efi' },
    },
  ],
  defaultEntry: 0,
  fileSystems: new Map(),
  problems: ['partitions 1 and 2 overlap'],
};

test('as text', () => {
  expect(renderInspection(disk)).toBe(`Disk: 2 GiB, GPT

Partition    Start     Size  Type              File system  Label  UUID
1            1 MiB   64 MiB  EFI System        fat32        EFI    A1B2-C3D4
2           65 MiB  1.9 GiB  Linux filesystem  ext4         -      6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001
  note: the journal was replayed in memory
3          1.9 GiB   83 MiB  abcd              ZFS          -      -
  note: keep /boot on ext4

Boot entries:
* 1  grub  Debian GNU/Linux
  2  grub  More>Windows
       cannot be booted: needs firmware
  3  uki   Arch Linux

Would boot:
  Title         Debian GNU/Linux
  Kind          GRUB configuration
  Kernel        /boot/vmlinuz-6.1 of partition 2
  Initrd        /boot/initrd.img-6.1 of partition 2
  Command line  BOOT_IMAGE=/boot/vmlinuz-6.1 root=UUID=x ro quiet
  From          /boot/grub/grub.cfg of partition 2

Problems:
  partitions 1 and 2 overlap
`);
});

test('a disk with nothing on it', () => {
  const empty = {
    ...disk,
    scheme: 'none',
    sectorSize: 4096,
    partitions: [],
    entries: [],
    defaultEntry: undefined,
    problems: [],
  } as const;
  expect(renderInspection(empty)).toBe(
    'Disk: 2 GiB, no partition table, 4096-byte sectors\n\nNo partitions.\n\nBoot entries:\n  none\n',
  );
});

test('text of the image cannot steer the terminal', () => {
  const evil = '\u001b]0;x\u0007\u009b\u202e\n\t';
  const [first] = disk.partitions;
  const text = renderInspection({
    ...disk,
    partitions: [
      { ...first!, typeName: '', type: '', fileSystem: { type: 'ext4', label: evil, uuid: '' }, notes: [evil] },
    ],
    entries: [
      { ...entry, title: evil, path: evil, cmdline: evil, kernel: { partition: 1, path: evil }, problem: evil },
    ],
    problems: [evil],
  });
  // biome-ignore lint/suspicious/noControlCharactersInRegex: their absence is what is tested
  expect(text).not.toMatch(/[\u0000-\u0009\u000b-\u001f\u007f-\u009f\u202e]/);
  expect(text).toContain('\\u001b]0;x\\u0007\\u009b\\u202e\\u000a\\u0009');
});

describe('as JSON', () => {
  test('has the documented shape', () => {
    expect(JSON.parse(JSON.stringify(inspectionJson(disk)))).toEqual({
      schemaVersion: 1,
      size: 2147483648,
      partitionTable: 'gpt',
      sectorSize: 512,
      partitions: [
        {
          number: 1,
          start: MiB,
          size: 64 * MiB,
          type: 'c12a…',
          typeName: 'EFI System',
          name: 'esp',
          partUuid: 'u1',
          fileSystem: { type: 'fat32', label: 'EFI', uuid: 'A1B2-C3D4' },
          contents: null,
          hint: null,
          notes: [],
        },
        {
          number: 2,
          start: 65 * MiB,
          size: 1900 * MiB,
          type: '0fc6…',
          typeName: 'Linux filesystem',
          name: null,
          partUuid: 'u2',
          fileSystem: { type: 'ext4', label: null, uuid: '6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f001' },
          contents: null,
          hint: null,
          notes: ['the journal was replayed in memory'],
        },
        {
          number: 3,
          start: 1965 * MiB,
          size: 83 * MiB,
          type: 'abcd',
          typeName: null,
          name: null,
          partUuid: null,
          fileSystem: null,
          contents: 'ZFS',
          hint: 'keep /boot on ext4',
          notes: [],
        },
      ],
      entries: [
        {
          number: 1,
          kind: 'grub',
          loader: 'grub',
          title: 'Debian GNU/Linux',
          id: 'gnulinux-simple',
          path: 'Debian GNU/Linux',
          bootable: true,
          problem: null,
          kernel: { partition: 2, path: '/boot/vmlinuz-6.1', section: null },
          initrds: [{ partition: 2, path: '/boot/initrd.img-6.1', section: null }],
          cmdline: entry.cmdline,
          source: { partition: 2, path: '/boot/grub/grub.cfg', section: null },
        },
        {
          number: 2,
          kind: 'grub',
          loader: 'grub',
          title: 'Windows',
          id: 'gnulinux-simple',
          path: 'More>Windows',
          bootable: false,
          problem: 'needs firmware',
          kernel: null,
          initrds: [],
          cmdline: '',
          source: { partition: 2, path: '/boot/grub/grub.cfg', section: null },
        },
        {
          number: 3,
          kind: 'uki',
          loader: 'systemd-boot',
          title: 'Arch Linux',
          id: 'arch.efi',
          path: 'Arch Linux',
          bootable: true,
          problem: null,
          kernel: { partition: 1, path: '/EFI/Linux/arch.efi', section: '.linux' },
          initrds: [],
          cmdline: 'quiet',
          source: { partition: 1, path: '/EFI/Linux/arch.efi', section: null },
        },
      ],
      defaultEntry: 1,
      problems: ['partitions 1 and 2 overlap'],
    });
  });

  test('says null where nothing would boot', () => {
    expect(inspectionJson({ ...disk, defaultEntry: undefined }).defaultEntry).toBeNull();
  });
});

test.each([
  [0, '0 B'],
  [1023, '1023 B'],
  [1024, '1 KiB'],
  [1536, '1.5 KiB'],
  [10 * 1024 ** 4, '10 TiB'],
])('%i bytes are %s', (bytes, text) => expect(formatSize(bytes)).toBe(text));
