/**
 * The kernel command line of a guest: what the image asks for, our console, what the user adds. Main thread.
 *
 * Words and quotes as in Linux `lib/cmdline.c` (`next_arg`): white space separates, double quotes keep it, and what stands
 * behind a lone `--` goes to init.
 */
import { TsvmmError } from '../errors.js';

export interface GuestCmdlineOptions {
  /** Where the guest's console is; undefined adds none. */
  readonly console?: 'ttyS0' | 'hvc0' | undefined;
  /** The user's own parameters. They come after ours, so a `console=` among them is the last one. */
  readonly append?: string | undefined;
}

/**
 * What a console on hvc0 needs beside its name. Its driver is a module in distributions' kernels: systemd is told to load
 * it, and to start a login there, since its generator of logins runs before the module is loaded. Until then, and for
 * panics, the kernel has the serial port; a login there would be one that nobody can type into.
 */
const virtioConsole = [
  'systemd.wants=serial-getty@hvc0.service',
  'systemd.mask=serial-getty@ttyS0.service',
  'modules_load=virtio_console',
] as const;

/**
 * `base` with `console=` as its last console unless it names that one already; hvc0 comes with ttyS0 before it. Nothing is
 * removed. Words of `base` and `append` behind `--` stay behind everything else.
 */
export function guestCmdline(base: string, options: GuestCmdlineOptions = {}): string {
  for (const [what, text] of [
    ['the boot entry', base],
    ['boot.append', options.append ?? ''],
  ] as const) {
    if (text.includes('\0')) {
      throw new TsvmmError('ERR_TSVMM_CONFIG', `the command line of ${what} contains a NUL character`, {
        hint: what === 'boot.append' ? 'remove it' : 'pass another one with boot: { kernel, initrd, cmdline }',
      });
    }
  }
  const image = splitInit(base);
  const added = splitInit(options.append ?? '');
  const given = [...image.kernel, ...added.kernel];
  const words = [...image.kernel, ...consoleWords(given, options.console), ...added.kernel];
  const init = [...image.init, ...added.init];
  return (init.length > 0 ? [...words, '--', ...init] : words).join(' ');
}

function consoleWords(given: readonly string[], console: GuestCmdlineOptions['console']): string[] {
  if (console === undefined) return [];
  if (console === 'ttyS0') return hasConsole(given, console) ? [] : [`console=${console}`];
  const words = virtioConsole.filter((word) => !given.includes(word));
  if (hasConsole(given, console)) return words;
  return [...(hasConsole(given, 'ttyS0') ? [] : ['console=ttyS0']), `console=${console}`, ...words];
}

/** The words for the kernel and, behind a lone `--`, those for init. */
export function splitInit(text: string): { kernel: string[]; init: string[] } {
  const words = splitWords(text);
  const end = words.indexOf('--');
  return end < 0 ? { kernel: words, init: [] } : { kernel: words.slice(0, end), init: words.slice(end + 1) };
}

const separators = new Set([' ', '\t', '\n', '\v', '\f', '\r']);

function splitWords(text: string): string[] {
  const words: string[] = [];
  let word = '';
  let quoted = false;
  for (const char of text) {
    if (!quoted && separators.has(char)) {
      if (word !== '') words.push(word);
      word = '';
    } else {
      if (char === '"') quoted = !quoted;
      word += char;
    }
  }
  // A quote that is never closed would swallow what is added behind it.
  if (word !== '') words.push(quoted ? `${word}"` : word);
  return words;
}

/** `console=ttyS0` or `console=ttyS0,115200n8`, also in quotes. */
function hasConsole(words: readonly string[], name: string): boolean {
  return words.some((word) => {
    const plain = word.replaceAll('"', '');
    return plain === `console=${name}` || plain.startsWith(`console=${name},`);
  });
}
