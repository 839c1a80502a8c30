/**
 * Huge claims in small images: file systems of a few mebibytes that are made to take a reader's memory or time. Each ends
 * soon with an answer or one clear error, and takes no more than its bounds.
 */
import { describe, expect, test } from 'vitest';
import { costOf } from '../../../support/cost.js';
import { haveTools, load, mount, run, scratch } from './images.js';
import { smallImages } from './small-images.js';

const ready = haveTools('mke2fs', 'debugfs');
const folder = scratch();
const { ext } = smallImages(folder);

describe.runIf(ready)('huge claims in small images: ext', () => {
  test.each([['4294967295'], ['0x4000000000000']])('inline data of %s bytes', async (size) => {
    const image = ext('1M', '-t', 'ext4', '-b', '1024', '-I', '256', '-O', 'inline_data,^metadata_csum,^has_journal');
    run('debugfs', ['-w', '-R', `sif /boot/cfg size ${size}`, image]);
    const fileSystem = await mount(load(image));
    const { result, memory, cpu } = await costOf(() => fileSystem.readRange('/boot/cfg', 2, 100));
    expect(result).toEqual(Buffer.from('xt'.padEnd(100, '\0')));
    await expect(fileSystem.readFile('/boot/cfg', 1 << 20)).rejects.toThrow('are accepted');
    expect(memory).toBeLessThan(64);
    expect(cpu).toBeLessThan(1000);
  });
});
