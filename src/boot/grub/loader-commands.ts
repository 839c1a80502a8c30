/**
 * GRUB commands that make menus and load kernels: `menuentry`, `submenu`, `linux`, `initrd` (GNU GRUB 2.06 manual §16.1,
 * §16.3.32, §16.3.40). Main thread.
 */
import { maxCommandLine, maxInitrds } from '../disk-budget.js';
import { volumeName } from '../entries/volume.js';
import { type Command, status } from './command.js';
import { type Located, referenceTo } from './disk.js';
import type { Interpreter } from './interpreter.js';
import { kernelCommandLine, otherLoaders } from './kernel-line.js';
import { parseOptions } from './options.js';
import { chainloader, uki } from './uki-commands.js';

const menuOptions = {
  class: { value: 'required' },
  users: { value: 'required' },
  hotkey: { value: 'required' },
  source: { value: 'required' },
  id: { value: 'required' },
  unrestricted: {},
} as const;

const menuItem =
  (submenu: boolean): Command =>
  (shell, args, node) => {
    const parsed = parseOptions(args, menuOptions, true);
    const title = parsed?.rest[0];
    if (parsed === undefined || title === undefined || node.block === undefined) return status.failed;
    shell.surroundings.budget.menuItem();
    const id = parsed.options.get('id')?.at(-1) ?? title;
    shell.menu.push({ kind: 'grub', title, id, args: parsed.rest, body: node.block, submenu, source: shell.file });
    return status.ok;
  };

/** A regular file that exists; otherwise the reason goes to `shell.failure`. */
async function existingFile(shell: Interpreter, name: string): Promise<Located | undefined> {
  const at = shell.locate(name);
  if (typeof at === 'string') {
    shell.failure = at;
    return undefined;
  }
  const found = await shell.surroundings.disk.stat(at);
  if (found?.kind === 'file') return at;
  const place = `${at.path} of ${volumeName(at.volume.partition)}`;
  shell.failure = `${place} ${found === undefined ? 'does not exist' : 'is no regular file'}`;
  return undefined;
}

const linux: Command = async (shell, args) => {
  shell.loader = undefined;
  const [kernel] = args;
  if (kernel === undefined) {
    shell.failure = '`linux` names no kernel';
    return status.failed;
  }
  const at = await existingFile(shell, kernel);
  if (at === undefined) return status.failed;
  const cmdline = kernelCommandLine(args);
  if (cmdline.length > maxCommandLine) {
    shell.failure = `its command line has more than ${maxCommandLine} characters`;
    return status.failed;
  }
  shell.failure = undefined;
  shell.loader = {
    kind: 'linux',
    kernel: referenceTo(at),
    cmdline,
    initrds: [],
    source: shell.file,
  };
  return status.ok;
};

/** Each call replaces what an earlier one loaded. */
const initrd: Command = async (shell, args) => {
  const loader = shell.loader;
  if (loader?.kind !== 'linux') {
    shell.failure ??= '`initrd` stands before `linux`';
    return status.failed;
  }
  if (args.length > maxInitrds) {
    shell.failure = `it has more than ${maxInitrds} initrds`;
    return status.failed;
  }
  const initrds = [];
  for (const name of args) {
    if (name.startsWith('newc:')) {
      shell.failure = `the initrd ${name} is made by GRUB (newc:), which is not followed`;
      return status.failed;
    }
    const at = await existingFile(shell, name);
    if (at === undefined) return status.failed;
    initrds.push(referenceTo(at));
  }
  if (initrds.length === 0) return status.failed;
  shell.failure = undefined;
  shell.loader = { ...loader, initrds };
  return status.ok;
};

const otherLoader =
  (reason: string): Command =>
  (shell) => {
    shell.loader = { kind: 'other', reason };
    return status.ok;
  };

export const loaderCommands: readonly (readonly [string, Command])[] = [
  ['menuentry', menuItem(false)],
  ['submenu', menuItem(true)],
  ...['linux', 'linux16', 'linuxefi'].map((name) => [name, linux] as const),
  ...['initrd', 'initrd16', 'initrdefi'].map((name) => [name, initrd] as const),
  ['chainloader', chainloader],
  ['uki', uki],
  ...Object.entries(otherLoaders).map(([name, reason]) => [name, otherLoader(reason)] as const),
];
