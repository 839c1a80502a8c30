/**
 * The files of the Boot Loader Specification and of systemd-boot: lines of a key and a value (UAPI.1 "Type #1 Boot Loader
 * Entry Keys"; loader.conf(5)). Main thread.
 */

export type Setting = readonly [key: string, value: string];

/** A file with more bytes is not one that a tool wrote. */
export const snippetLimit = 64 * 1024;
/** What stands behind so many settings is not read. */
const maxSettings = 1024;

/**
 * In the order of the file. As systemd-boot reads it: white space around a line does not count, nor does a line without a
 * value or one that begins with `#`; a value may stand in quotes (not for GRUB, which keeps them: `unquote` false).
 */
export function parseSnippet(text: string, unquote = true): Setting[] {
  const settings: Setting[] = [];
  for (const line of text.replace(/\0.*$/s, '').split(/[\r\n]+/)) {
    const trimmed = line.trim();
    const space = trimmed.search(/[ \t]/);
    if (space < 0 || trimmed.startsWith('#')) continue;
    const value = trimmed.slice(space).trim();
    const quoted = unquote && value.length > 1 && /^["']/.test(value) && value.endsWith(value.charAt(0));
    if (settings.length === maxSettings) break;
    settings.push([trimmed.slice(0, space), quoted ? value.slice(1, -1) : value]);
  }
  return settings;
}
