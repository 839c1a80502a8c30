/** Names by which a running machine is reached: they are part of a file's name, and words of a command line. Main thread; pure. */
import { TsvmmError } from '../../errors.js';
import { show } from '../../machine/units.js';

/** As for `VmOptions.name`. */
export const longestName = 64;
const form = /^[A-Za-z0-9][A-Za-z0-9._-]*$/;

export const isMachineName = (text: string): boolean => text.length <= longestName && form.test(text);

/** `text` if it is a name; else throws `ERR_TSVMM_CONFIG`. */
export function parseMachineName(text: string, option: string): string {
  if (isMachineName(text)) return text;
  throw new TsvmmError('ERR_TSVMM_CONFIG', `${option}: ${show(text)} cannot be a name`, {
    hint: `use letters, digits, ".", "_" and "-", at most ${longestName}, and begin with a letter or a digit`,
  });
}
