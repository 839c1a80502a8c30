/** Which grub.cfg of a disk counts. */
import { describe, expect, test } from 'vitest';
import { findGrubEntries } from '../../../../src/boot/entries/grub-entries.js';
import type { Volume } from '../../../../src/boot/entries/volume.js';
import { TsvmmError } from '../../../../src/errors.js';
import { type Content, memoryVolume } from '../grub/memory-file-system.js';

const uuid = (n: number): string => `6a3ecb9f-5b0e-4d61-9e3b-0c62d5a1f00${n}`;
const menu = (title: string): string => `menuentry '${title}' { linux /k; }`;
const linux = (partition: number, path = '/boot/grub/grub.cfg', files: Record<string, Content> = {}): Volume =>
  memoryVolume(partition, { '/k': 'k', [path]: menu(`on ${partition}`), ...files }, { uuid: uuid(partition) });
const esp = (files: Record<string, Content>): Volume => memoryVolume(1, files, { type: 'fat32', uuid: 'A1B2-C3D4' });
const leadTo = (partition: number): string =>
  `search.fs_uuid ${uuid(partition)} root\nset prefix=($root)/boot/grub\nconfigfile $prefix/grub.cfg`;

const titles = async (volumes: readonly Volume[]): Promise<string[]> =>
  (await findGrubEntries(volumes)).entries.map(({ title }) => title);

test.each(['/boot/grub/grub.cfg', '/grub/grub.cfg', '/boot/grub2/grub.cfg', '/grub2/grub.cfg'])('%s', async (path) => {
  expect(await titles([esp({}), linux(2, path)])).toEqual(['on 2']);
});

test('nothing at all', async () => {
  expect(await findGrubEntries([esp({}), memoryVolume(2, {})])).toEqual({
    entries: [],
    defaultEntry: undefined,
    problems: [],
  });
});

test('a menu on the EFI System Partition itself', async () => {
  expect(await titles([esp({ '/EFI/fedora/grub.cfg': menu('direct'), '/k': 'k' })])).toEqual(['direct']);
});

describe('several systems on one disk', () => {
  test('the EFI System Partition says which', async () => {
    const found = await findGrubEntries([esp({ '/EFI/debian/grub.cfg': leadTo(3) }), linux(2), linux(3)]);
    expect(found.entries.map(({ title }) => title)).toEqual(['on 3']);
    expect(found.problems).toEqual([
      'partition 2 has a GRUB configuration of its own (/boot/grub/grub.cfg); its entries are not listed',
    ]);
  });

  test('an installed vendor counts before the fallback directory', async () => {
    const files = { '/EFI/BOOT/grub.cfg': leadTo(2), '/EFI/ubuntu/grub.cfg': leadTo(3) };
    expect(await titles([esp(files), linux(2), linux(3)])).toEqual(['on 3']);
  });

  test('without one, the first partition', async () => {
    const found = await findGrubEntries([linux(2), linux(3)]);
    expect(found.entries.map(({ title }) => title)).toEqual(['on 2']);
    expect(found.problems).toHaveLength(1);
  });

  test('one that points nowhere is passed over', async () => {
    const found = await findGrubEntries([esp({ '/EFI/debian/grub.cfg': leadTo(7) }), linux(2), linux(3)]);
    expect(found.entries.map(({ title }) => title)).toEqual(['on 2']);
    expect(found.problems[0]).toBe('/EFI/debian/grub.cfg of partition 1 offers nothing to boot');
  });
});

test('a hostile configuration is a problem, and the next one is read', async () => {
  const found = await findGrubEntries([
    memoryVolume(1, { '/boot/grub/grub.cfg': 'while true; do true; done' }),
    linux(2),
  ]);
  expect(found.entries.map(({ title }) => title)).toEqual(['on 2']);
  expect(found.problems[0]).toBe(
    '/boot/grub/grub.cfg of partition 1: the GRUB configuration runs more than 200000 commands',
  );
});

test('a disk full of hostile configurations does not add up', async () => {
  const disk = Array.from({ length: 20 }, (_, i) =>
    memoryVolume(i + 1, { '/boot/grub/grub.cfg': 'normal', '/grub/grub.cfg': 'normal' }),
  );
  const found = await findGrubEntries(disk);
  expect(found.problems[0]).toBe('the disk has 40 GRUB configurations; only 8 are read');
  expect(found.problems).toHaveLength(9);
});

test('entries that cannot be booted are listed if there are no others', async () => {
  const found = await findGrubEntries([memoryVolume(1, { '/boot/grub/grub.cfg': 'menuentry w { chainloader +1; }' })]);
  expect(found.entries).toHaveLength(1);
  expect(found.defaultEntry).toBeUndefined();
});

test('a damaged partition is a problem of that partition', async () => {
  const bad = memoryVolume(1, {});
  bad.fs.stat = async () => {
    throw new TsvmmError('ERR_TSVMM_DISK_FORMAT', 'the directory is damaged');
  };
  const found = await findGrubEntries([bad, linux(2)]);
  expect(found.entries.map(({ title }) => title)).toEqual(['on 2']);
  expect(found.problems).toEqual(['partition 1: the directory is damaged']);
});

test('an error that is no TsvmmError is not swallowed', async () => {
  const bad = memoryVolume(1, {});
  bad.fs.stat = async () => {
    throw new RangeError('a mistake of ours');
  };
  await expect(findGrubEntries([bad])).rejects.toThrow(RangeError);
});
