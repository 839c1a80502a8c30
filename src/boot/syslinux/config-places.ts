/**
 * Where SYSLINUX, EXTLINUX and ISOLINUX look for their configuration (SYSLINUX 6 "Config": the directory they were installed
 * in, which by custom is one of these). Main thread.
 */
import type { Volume } from '../entries/volume.js';

const directories = [
  '/boot/extlinux',
  '/extlinux',
  '/boot/isolinux',
  '/isolinux',
  '/boot/syslinux',
  '/syslinux',
  '/EFI/syslinux',
  '/EFI/BOOT',
  '/boot',
  '/',
];
const names = ['extlinux.conf', 'isolinux.cfg', 'syslinux.cfg'] as const;

/** Absolute paths, in the order in which they count. */
export async function findConfigs({ fs }: Volume): Promise<string[]> {
  const found: string[] = [];
  for (const directory of directories) {
    if (directory !== '/' && (await fs.stat(directory))?.kind !== 'directory') continue;
    for (const name of names) {
      const path = directory === '/' ? `/${name}` : `${directory}/${name}`;
      if ((await fs.stat(path))?.kind === 'file') found.push(path);
    }
  }
  return found;
}

/** Which of the family a configuration belongs to. */
export function syslinuxName(path: string): 'extlinux' | 'isolinux' | 'syslinux' {
  if (path.endsWith('/extlinux.conf') || path.includes('/extlinux/')) return 'extlinux';
  return path.endsWith('/isolinux.cfg') || path.includes('/isolinux/') ? 'isolinux' : 'syslinux';
}
