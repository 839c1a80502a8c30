/**
 * Partition types in words. Main thread.
 *
 * GUIDs: UEFI 2.10 §5.3.3 table 5.7 and the Discoverable Partitions Specification of the UAPI group. MBR bytes: the list
 * that fdisk(8) prints.
 */
/** Linux numbers no more (DISK_MAX_PARTS, of which the disk itself is one). */
export const maxPartitions = 255;

const guids: Readonly<Record<string, string>> = {
  'c12a7328-f81f-11d2-ba4b-00a0c93ec93b': 'EFI System',
  '21686148-6449-6e6f-744e-656564454649': 'BIOS boot',
  'bc13c2ff-59e6-4262-a352-b275fd6f7172': 'Linux extended boot',
  '0fc63daf-8483-4772-8e79-3d69d8477de4': 'Linux filesystem',
  '4f68bce3-e8cd-4db1-96e7-fbcaf984b709': 'Linux root (x86-64)',
  '44479540-f297-41b2-9af7-d131d5f0458a': 'Linux root (x86)',
  'b921b045-1df0-41c3-af44-4c6f280d3fae': 'Linux root (ARM-64)',
  '69dad710-2ce4-4e3c-b16c-21a1d49abed3': 'Linux root (ARM)',
  '8484680c-9521-48c6-9c11-b0720656f69e': 'Linux /usr (x86-64)',
  'b0e01050-ee5f-4390-949a-9101b17104e9': 'Linux /usr (ARM-64)',
  '2c7357ed-ebd2-46d9-aec1-23d437ec2bf5': 'Linux root verity (x86-64)',
  '933ac7e1-2eb4-4f13-b844-0e14e2aef915': 'Linux home',
  '3b8f8425-20e0-4f3b-907f-1a25a76f98e8': 'Linux server data',
  '4d21b016-b534-45c2-a9fb-5c16e091fd2d': 'Linux variable data',
  '0657fd6d-a4ab-43c4-84e5-0933c84b4f4f': 'Linux swap',
  'e6d6d379-f507-44c2-a23c-238f2a3df928': 'Linux LVM',
  'a19d880f-05fc-4d3b-a006-743f0f84911e': 'Linux RAID',
  'ca7d7ccb-63ed-4c53-861c-1742536059cc': 'Linux LUKS',
  '8da63339-0007-60c0-c436-083ac8230908': 'Linux reserved',
  '7ffec5c9-2d00-49b7-8941-3ea10a5586b7': 'Linux dm-crypt',
  'ebd0a0a2-b9e5-4433-87c0-68b6b72699c7': 'Microsoft basic data',
  'e3c9e316-0b5c-4db8-817d-f92df00215ae': 'Microsoft reserved',
  'de94bba4-06d1-4d40-a16a-bfd50179d6ac': 'Windows recovery',
  '9e1a2d38-c612-4316-aa26-8b49521e5a8b': 'PowerPC PReP boot',
  'fe3a2a5d-4f32-41a7-b725-accc3285a309': 'ChromeOS kernel',
  '3cb8e202-3b7e-47dd-8a3c-7ff2a13cfcec': 'ChromeOS root',
  '48465300-0000-11aa-aa11-00306543ecac': 'Apple HFS+',
  '7c3457ef-0000-11aa-aa11-00306543ecac': 'Apple APFS',
  '6a898cc3-1dd2-11b2-99a6-080020736631': 'ZFS',
  '516e7cb4-6ecf-11d6-8ff8-00022d09712b': 'FreeBSD data',
  '83bd6b9d-7f41-11dc-be0b-001560b84f0f': 'FreeBSD boot',
  '516e7cb6-6ecf-11d6-8ff8-00022d09712b': 'FreeBSD UFS',
  '516e7cba-6ecf-11d6-8ff8-00022d09712b': 'FreeBSD ZFS',
};

export const mbrType = { extended: 0x05, extendedLba: 0x0f, extendedLinux: 0x85, protective: 0xee } as const;

const mbrTypes: Readonly<Record<number, string>> = {
  1: 'FAT12',
  4: 'FAT16 (small)',
  [mbrType.extended]: 'Extended',
  6: 'FAT16',
  7: 'NTFS or exFAT',
  11: 'FAT32',
  12: 'FAT32 (LBA)',
  14: 'FAT16 (LBA)',
  [mbrType.extendedLba]: 'Extended',
  23: 'Hidden NTFS or ISO 9660',
  39: 'Windows recovery',
  65: 'PowerPC PReP boot',
  130: 'Linux swap',
  131: 'Linux',
  [mbrType.extendedLinux]: 'Extended',
  142: 'Linux LVM',
  165: 'FreeBSD',
  166: 'OpenBSD',
  169: 'NetBSD',
  218: 'Non-file-system data',
  234: 'Linux extended boot',
  [mbrType.protective]: 'GPT protective',
  239: 'EFI System',
  253: 'Linux RAID',
};

export const guidTypeName = (guid: string): string => guids[guid] ?? '';
export const mbrTypeName = (type: number): string => mbrTypes[type] ?? '';
export const isExtended = (type: number): boolean =>
  type === mbrType.extended || type === mbrType.extendedLba || type === mbrType.extendedLinux;

/** A GUID as it is printed: its first three fields are stored little-endian (UEFI 2.10 appendix A). */
export function guidText(bytes: Buffer, at: number): string {
  const field = (from: number, length: number) => bytes.toString('hex', at + from, at + from + length);
  const swapped = (value: number, digits: number) => value.toString(16).padStart(digits, '0');
  return [
    swapped(bytes.readUInt32LE(at), 8),
    swapped(bytes.readUInt16LE(at + 4), 4),
    swapped(bytes.readUInt16LE(at + 6), 4),
    field(8, 2),
    field(10, 6),
  ].join('-');
}
