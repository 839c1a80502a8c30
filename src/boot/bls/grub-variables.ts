/**
 * `$kernelopts` and its like in Boot Loader Specification entries: RHEL and Fedora keep parameters of all kernels in GRUB's
 * environment block, and tuned(8) adds its own there (`$tuned_params`, `$tuned_initrd`). Main thread.
 *
 * For entries that are read without GRUB's configuration; in its menu they are GRUB's own variables.
 */
import type { Volume } from '../entries/volume.js';
import { environmentBlockLimit, parseEnvironmentBlock } from '../grub/environment-block.js';

export type Variables = ReadonlyMap<string, string>;

const places = ['/grub2/grubenv', '/boot/grub2/grubenv', '/grub/grubenv', '/boot/grub/grubenv'];

/** Variables of the environment block on `volume`; none if there is no block. */
export async function readGrubVariables({ fs }: Volume): Promise<Variables> {
  for (const path of places) {
    const found = await fs.stat(path);
    if (found?.kind !== 'file' || found.size > environmentBlockLimit) continue;
    const text = (await fs.readFile(path, environmentBlockLimit)).toString('utf8');
    return new Map(parseEnvironmentBlock(text) ?? []);
  }
  return new Map();
}

/** Replaces `$name` and `${name}`; a variable that is not set is nothing. */
export function expandVariables(text: string, variables: Variables): string {
  if (!text.includes('$')) return text;
  const expanded = text.replace(/\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))/g, (_, braced?: string, bare?: string) => {
    return variables.get(braced ?? bare ?? '') ?? '';
  });
  return expanded.trim();
}
