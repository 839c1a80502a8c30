/**
 * The GRUB environment block, `grubenv` (GNU GRUB 2.06 manual §15.2 "The GRUB environment block"). Main thread.
 *
 * It is only ever read. `next_entry` is the guest's one-shot choice (`grub-reboot`): GRUB honours it once and clears it
 * on the disk. Since nothing is written here, honouring it would repeat it for ever, so it is left for GRUB.
 */

const signature = '# GRUB Environment Block\n';

/** The file has 1024 bytes; more is allowed, but not much. */
export const environmentBlockLimit = 64 << 10;

const oneShot = new Set(['next_entry']);

/** Variables of the block, in order; undefined if `text` is none. */
export function parseEnvironmentBlock(text: string): [name: string, value: string][] | undefined {
  if (!text.startsWith(signature)) return undefined;
  const variables: [string, string][] = [];
  // A value may contain an escaped newline; a backslash escapes any character.
  for (const match of text.slice(signature.length).matchAll(/(?:[^\n\\]|\\.)+/gs)) {
    const line = match[0];
    const equals = line.indexOf('=');
    if (line.startsWith('#') || equals <= 0) continue;
    const name = line.slice(0, equals);
    if (!oneShot.has(name)) variables.push([name, line.slice(equals + 1).replace(/\\(.)/gs, '$1')]);
  }
  return variables;
}
