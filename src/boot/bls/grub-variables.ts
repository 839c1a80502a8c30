/**
 * `$kernelopts` and its like in Boot Loader Specification entries: RHEL and Fedora keep parameters of all kernels in GRUB's
 * environment block, and tuned(8) adds its own there (`$tuned_params`, `$tuned_initrd`). Main thread.
 *
 * For entries that are read without GRUB's configuration; in its menu they are GRUB's own variables, and systemd-boot knows
 * none: there a `$` is only a character, as in `memmap=1M$0x100000`.
 */
import { TsvmmError } from '../../errors.js';
import { maxCommandLine } from '../disk-budget.js';
import type { Volume } from '../entries/volume.js';
import { environmentBlockLimit, parseEnvironmentBlock } from '../grub/environment-block.js';

export type Variables = ReadonlyMap<string, string>;

const places = ['/grub2/grubenv', '/boot/grub2/grubenv', '/grub/grubenv', '/boot/grub/grubenv'];

/** Variables of the environment block on `volume`; undefined if there is no block. */
export async function readGrubVariables({ fs }: Volume): Promise<Variables | undefined> {
  for (const path of places) {
    const found = await fs.stat(path);
    if (found?.kind !== 'file' || found.size > environmentBlockLimit) continue;
    const text = (await fs.readFile(path, environmentBlockLimit)).toString('utf8');
    return new Map(parseEnvironmentBlock(text) ?? []);
  }
  return undefined;
}

/**
 * Replaces `$name` and `${name}`, unless a backslash stands before it; a variable that is not set is nothing. Throws
 * `ERR_TSVMM_BOOT_NOT_FOUND` when the result would be longer than a command line may be.
 */
export function expandVariables(text: string, variables: Variables | undefined): string {
  if (variables === undefined || !text.includes('$')) return text;
  const pattern = /\\\$|\$(?:\{([A-Za-z0-9_]+)\}|([A-Za-z0-9_]+))/g;
  let length = text.length;
  const expanded = text.replace(pattern, (match, braced?: string, bare?: string) => {
    const value = match === '\\$' ? '$' : (variables.get(braced ?? bare ?? '') ?? '');
    length += value.length;
    if (length > maxCommandLine) throw tooLong();
    return value;
  });
  return expanded.trim();
}

/** Of a command line or a list of initrds. */
export const tooLong = (): TsvmmError =>
  new TsvmmError('ERR_TSVMM_BOOT_NOT_FOUND', `its variables make a text of more than ${maxCommandLine} characters`);
