/** What a boot from a disk says of what is wrong there, though something boots. */
import { beforeAll, expect, test } from 'vitest';
import { prepareBoot } from '../../../src/machine/boot-prepare.js';
import { PhaseClock } from '../../../src/machine/phases.js';
import { haveTools, load, plant, run, scratch } from '../boot/fs/images.js';
import { fakeBzImage } from '../boot/linux/kernels.js';

const ready = haveTools('mke2fs');
const folder = scratch();
const path = `${folder}/disk.img`;

beforeAll(() => {
  if (!ready) return;
  const missing = Array.from({ length: 20 }, (_, i) => `INCLUDE none${i}${'x'.repeat(400)}\n`);
  plant(`${folder}/tree`, {
    'syslinux.cfg': Buffer.from(`${missing.join('')}DEFAULT a\nLABEL a\nLINUX missing\u001b[31m\nLABEL b\nLINUX k\n`),
    k: fakeBzImage({ codeSize: 4096 }),
  });
  run('truncate', ['-s', '4M', path]);
  run('mke2fs', ['-q', '-F', '-t', 'ext2', '-d', `${folder}/tree`, path]);
});

async function boot(entry?: string) {
  const told: [disk: number, problems: readonly string[]][] = [];
  const image = await prepareBoot(
    {
      boot: { kind: 'disk', disk: 1, entry, append: '' },
      disk: async () => load(path),
      memory: { kernel: (size) => Buffer.alloc(size), initrd: (size) => Buffer.alloc(size) },
      ram: [{ start: 0, size: 64 << 20 }],
      apicIds: [0],
      processor: { signature: 0, features: 0 },
      transport: 'pci',
      devices: 1,
      bar64: undefined,
      console: 'ttyS0',
      problems: (disk, problems) => told.push([disk, problems]),
    },
    new PhaseClock(),
  );
  return { image, told };
}

test.runIf(ready)('problems of the boot configuration are told, few and short', async () => {
  const { image, told } = await boot();
  expect(image.segments.length).toBeGreaterThan(0);
  const [[disk, problems] = [], ...others] = told;
  expect([disk, others]).toEqual([1, []]);
  expect(problems).toHaveLength(8);
  for (const problem of problems ?? []) expect(problem.length).toBeLessThanOrEqual(300);
  expect(problems?.[0]).toMatch(/^\/syslinux\.cfg of the disk: none0xxx.*…$/);
  expect(problems?.[7]).toBe('13 more problems, which tsvmm image inspect shows');
});

test.runIf(ready)('a disk with nothing to boot says so in its error alone', async () => {
  await expect(boot('nowhere')).rejects.toMatchObject({ code: 'ERR_TSVMM_BOOT_NOT_FOUND' });
});
