/** Dirty logs as the kernel writes them, and layouts that only it makes, where this user may mount. */
import { copyFileSync } from 'node:fs';
import { describe, expect, test } from 'vitest';
import { expectSameTree, haveTools, load, mayMount, mount, run, scratch } from '../images.js';
import { ask, XfsImages } from './xfs-images.js';

const images = new XfsImages(scratch());
const ready =
  haveTools('mkfs.xfs', 'xfs_io', 'xfs_repair', 'mount') &&
  mayMount(images.folder, 'xfs', ['mkfs.xfs', '--unsupported', '-q', '-f'], '20M');

/** What lies in its place before the freeze; all that follows is only in the log when the machine stops. */
const before = `
  mkdir -p boot/grub2 d many names; head -c 300000 /dev/urandom > boot/vmlinuz; echo old > boot/grub2/grub.cfg
  for i in $(seq 200); do echo $i > many/file-$i-with-a-name; done; touch 'names/with space' 'names/new
line'
  xfs_freeze -f .; xfs_freeze -u .`;
const work = `
  head -c 400000 /dev/urandom > boot/vmlinuz-new; echo new > boot/new; mv boot/new boot/grub2/grub.cfg
  for i in $(seq 100); do rm many/file-$i-with-a-name; done
  for i in $(seq 100); do echo y > d/other-file-name-that-is-longer-$i; done
  mkdir a; ln -s "$(printf 'a/../%.0s' $(seq 100))boot/vmlinuz-new" remote-link; ln -s boot/vmlinuz local-link
  for i in $(seq 0 2500); do echo "pwrite -q $((i * 8))k 1k"; done | xfs_io -f scattered > commands
  fallocate -l 100000 unwritten; truncate -s 70000 hole; cp --reflink=auto boot/vmlinuz clone
  for i in $(seq 30); do mkdir d/sub-$i; done; for i in $(seq 30); do rmdir d/sub-$i; done
  sync -f .; echo last > boot/last; sync boot/last`;
/** Blocks are used as metadata, freed and used again for content, which only the records of that in the log tell apart. */
const again = `
  for round in 1 2 3 4 5 6 7 8; do
    seq -f 'churn-%0120.0f' 1000 | xargs touch; sync -f .; seq -f 'churn-%0120.0f' 1000 | xargs rm
    head -c 1000000 /dev/urandom > content-$round; sync -f .
  done`;

/** Mounts a new file system, works in it, and stops it as a power cut would. */
function stopped(script: string, ...options: string[]): { image: string; expected: string } {
  const image = images.make('40M', options);
  const at = images.mountPoint();
  const expected = images.mountPoint();
  run('mount', ['-o', 'loop', image, at]);
  try {
    run('sh', ['-ec', script], { cwd: at });
    run('cp', ['-a', `${at}/.`, expected]);
    run('xfs_io', ['-x', '-c', 'shutdown -f', at]);
  } finally {
    run('umount', [at]);
  }
  return { image, expected };
}

describe.runIf(ready)('replays what the kernel wrote', () => {
  test.each([
    ['as it comes', before + work, []],
    ['around the end of the log', before + work + again, []],
    ['with rmap and large extent counters', before + work, ['-m', 'rmapbt=1', '-i', 'nrext64=1']],
    ['1 KiB blocks and directory blocks of 4 KiB', before + work, ['-b', 'size=1024', '-n', 'size=4096']],
    ['a log with stripes', before + work, ['-l', 'su=32768']],
  ] as const)('%s', async (_, script, options) => {
    const { image, expected } = stopped(script, ...options);
    const fileSystem = await mount(load(image));
    expect(fileSystem.notes).toEqual([
      expect.stringMatching(/: \d+ log transactions with \d+ blocks .* were replayed/),
    ]);
    expect(await expectSameTree(fileSystem, expected)).toBeGreaterThan(120);
    expect(
      (await fileSystem.readFile('/remote-link', 1e6)).equals(await fileSystem.readFile('/boot/vmlinuz-new', 1e6)),
    ).toBe(true);
    if (script.includes(again))
      expect(/LOG REC AT LSN cycle [2-9]/.test(run('xfs_logprint', ['-t', image]))).toBe(true);
    // The kernel's own replay, and what it leaves on the disk.
    const repaired = images.path('.img');
    const at = images.mountPoint();
    copyFileSync(image, repaired);
    run('mount', ['-o', 'loop', repaired, at]);
    run('umount', [at]);
    run('xfs_repair', ['-n', repaired]);
    const clean = await mount(load(repaired));
    expect(clean.notes).toEqual([]);
    expect(ask(repaired, 'path /scattered', 'p u3.bmbt.level')).toBe('u3.bmbt.level = 2');
    expect(await expectSameTree(clean, expected)).toBeGreaterThan(120);
    run('rm', ['-r', image, repaired, expected]);
  });
});
