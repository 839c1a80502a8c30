/**
 * Small images with a little of everything in them, for the tests that do them harm.
 */
import { join } from 'node:path';
import { noise, plant, run } from './images.js';

export interface SmallImages {
  /** A new image of zeros. */
  blank(size: string): string;
  /** The folder that images are made from. */
  source(): string;
  /** A new image made by mke2fs from `source`. */
  ext(size: string, ...args: string[]): string;
}

export function smallImages(folder: string): SmallImages {
  let made = 0;
  let planted = false;
  const blank = (size: string): string => {
    const path = join(folder, `small-${++made}.img`);
    run('truncate', ['-s', size, path]);
    return path;
  };
  const source = (): string => {
    const root = join(folder, 'source');
    if (!planted) {
      plant(root, {
        'boot/kernel': noise(20_000),
        'boot/cfg': Buffer.from('text'),
        sparse: { size: 60_000, at: Array.from({ length: 12 }, (_, i) => [i * 5000, noise(50, i + 1)] as const) },
        'fast-link': { link: 'boot/kernel' },
        'slow-link': { link: `${'boot/../'.repeat(10)}boot/kernel` },
        'loop-link': { link: 'loop-link' },
        ...Object.fromEntries(Array.from({ length: 30 }, (_, i) => [`many/a-longer-name-${i}`, Buffer.from('x')])),
      });
    }
    planted = true;
    return root;
  };
  const ext = (size: string, ...args: string[]): string => {
    const path = blank(size);
    run('mke2fs', ['-q', '-F', '-d', source(), ...args, path]);
    return path;
  };
  return { blank, source, ext };
}
