/** Dirty journals as the kernel writes them, where this user may mount. */
import { copyFileSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { describe, expect, test } from 'vitest';
import { haveTools, load, mayMount, mount, run, scratch } from '../images.js';
import { JournalImages } from './journal-images.js';

const images = new JournalImages(scratch());
const ready = haveTools('mke2fs', 'debugfs', 'e2fsck', 'mount');
const kernelMayMount =
  ready && mayMount(images.folder, 'ext4', ['mke2fs', '-q', '-F', '-t', 'ext4', '-O', '^has_journal']);

describe.runIf(kernelMayMount)('replays what the kernel wrote', () => {
  /** Mounts a new file system, lets `script` work in it, and returns the image as it was before unmounting. */
  function whileMounted(
    script: string,
    mountOptions: string,
    ...options: string[]
  ): { image: string; expected: Buffer } {
    const image = images.path('.img');
    const at = images.path('.mnt');
    run('mkdir', [at]);
    run('truncate', ['-s', '32M', image]);
    run('mke2fs', ['-q', '-F', '-t', 'ext4', '-J', 'size=4', ...options, image]);
    run('mount', ['-o', `loop,${mountOptions}`, image, at]);
    try {
      run('sh', ['-ec', script], { input: '', accept: [0], cwd: at });
      const dirty = images.path('.dirty');
      copyFileSync(image, dirty);
      return { image: dirty, expected: readFileSync(join(at, 'f')) };
    } finally {
      run('umount', [at]);
    }
  }

  const script = `
    head -c 49152 /dev/urandom > f; mkdir d; for i in $(seq 200); do echo $i > d/file-$i; done; sync .
    rm d/file-1??; head -c 49152 /dev/urandom > f2; mv f2 f; ln -s f link; sync f .
    for i in $(seq 30); do mkdir d/sub-$i; sync d; rmdir d/sub-$i; done; echo end > d/end; sync f d/end`;

  test.each([
    ['ordered data', 'data=ordered', []],
    ['journalled data', 'data=journal', []],
    ['1 KiB blocks and checksummed commits', 'journal_checksum', ['-b', '1024']],
    ['block maps without metadata checksums', 'data=journal', ['-O', '^extents,^64bit,^metadata_csum', '-b', '1024']],
  ] as const)('%s', async (_, mountOptions, options) => {
    const { image, expected } = whileMounted(script, mountOptions, ...options);
    const { ours, repaired, notes } = await images.bothReadings(image);
    expect(notes[0]).toMatch(/replayed in memory/);
    expect(repaired.equals(expected), 'e2fsck').toBe(true);
    expect(ours.equals(expected), 'tsvmm').toBe(true);
    const fileSystem = await mount(load(image));
    expect((await fileSystem.readFile('/d/end', 10)).toString()).toBe('end\n');
    const names = (await fileSystem.list('/d')).map((entry) => entry.name);
    expect(names.sort()).toEqual(
      [
        ...Array.from({ length: 200 }, (_, i) => `file-${i + 1}`).filter((name) => !/^file-1..$/.test(name)),
        'end',
      ].sort(),
    );
  });

  test('refuses fast commits', async () => {
    const { image } = whileMounted(
      `${script}; sync .; sync -f .; echo more > d/more; sync d/more; echo again >> d/more; sync d/more`,
      'data=ordered',
      '-O',
      'fast_commit',
    );
    await expect(mount(load(image))).rejects.toMatchObject({
      message: expect.stringContaining('fast commits'),
      hint: expect.stringContaining('e2fsck -f'),
    });
  });
});
