/** Uses everything that a file system offers: for tests that do harm to its image. */
import { expect } from 'vitest';
import type { FileSystem } from '../../../../src/boot/fs/file-system.js';
import { TsvmmError } from '../../../../src/errors.js';

const fileLimit = 256 * 1024;

/** A bounded number of times; nothing but a TsvmmError may come of it. Returns how much it saw. */
export async function explore(fileSystem: FileSystem): Promise<number> {
  let visits = 0;
  const attempt = async (work: () => Promise<unknown>): Promise<void> => {
    // Without `expect` where it holds: this is called some hundred thousand times.
    await work().catch((error) => {
      if (!(error instanceof TsvmmError)) throw error;
    });
  };
  const visit = async (path: string, depth: number): Promise<void> => {
    if (++visits > 70 || depth > 5) return;
    await attempt(async () => {
      const stat = await fileSystem.stat(path);
      if (stat?.kind === 'file') {
        const { length } = await fileSystem.readFile(path, fileLimit);
        if (length !== stat.size) expect(length).toBe(stat.size);
      }
      if (stat?.kind !== 'directory') return;
      for (const { name } of (await fileSystem.list(path)).slice(0, 40)) await visit(`${path}/${name}`, depth + 1);
    });
  };
  await visit('', 0);
  for (const path of ['/boot/kernel', '/slow-link', '/loop-link', '/sparse'])
    await attempt(() => fileSystem.readFile(path, fileLimit));
  return visits;
}
