/** What this process has open, as /proc/self/fd says it: paths, `anon_inode:[eventfd]`, `socket:[123]`. */
import { readdirSync, readlinkSync } from 'node:fs';

export const openTargets = (): string[] =>
  readdirSync('/proc/self/fd').flatMap((fd) => {
    try {
      return [readlinkSync(`/proc/self/fd/${fd}`)];
    } catch {
      return []; // closed meanwhile, as the descriptor that listed the folder
    }
  });
