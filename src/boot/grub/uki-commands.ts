/**
 * Unified kernel images in GRUB: `uki` makes a menu entry of each (GNU GRUB 2.14 `commands/blsuki.c`), and `chainloader` starts
 * one, or another program, which needs firmware. Main thread.
 */
import { findBootPartitions } from '../bls/boot-partitions.js';
import { maxFiles, noting } from '../bls/menu-entry.js';
import { type2Directory } from '../bls/type2.js';
import { ukiFiles } from '../bls/uki-files.js';
import { compareVersions } from '../entries/version-order.js';
import { type Command, status } from './command.js';
import { type Located, referenceTo } from './disk.js';
import { isChosen, selectEntries } from './entry-selection.js';
import type { Interpreter } from './interpreter.js';
import type { Node } from './syntax.js';

const suffix = '.efi';
const foreign = 'hands over to another boot loader (chainloader), which needs firmware';

/** `chainloader [--force] FILE [OPTION]...`: options given take the place of the image's own, as in systemd-stub(7). */
export const chainloader: Command = async (shell, args) => {
  const [file = '', ...words] = args.filter((arg) => arg !== '--force' && arg !== '-f');
  const at = shell.locate(file);
  const [profile] = (typeof at === 'string' ? undefined : await shell.surroundings.disk.uki(at)) ?? [];
  shell.failure = undefined;
  shell.loader =
    typeof at === 'string' || profile === undefined
      ? { kind: 'other', reason: foreign }
      : {
          kind: 'linux',
          ...(await ukiFiles(at.volume, at.path, profile, shell.surroundings.note, words.join(' '))),
          source: shell.file,
        };
  return status.ok;
};

/** `uki [--path (DEVICE)DIRECTORY] [--enable-fallback] [--show-default] [--show-non-default] [--entry FILE]` */
export const uki: Command = async (shell, args) => {
  const selection = selectEntries(args, suffix);
  if (selection === undefined) return status.failed;
  const { path, fallback } = selection;
  let images = path === undefined ? [] : await imagesAt(shell, await locate(shell, path));
  if (path === undefined || (images.length === 0 && fallback))
    images = await imagesAt(shell, await locate(shell, type2Directory));
  images.sort((a, b) => compareVersions(stem(b.name), stem(a.name)));
  const chosen = shell.env.get('default');
  for (const [index, image] of images.entries()) {
    const profiles = await shell.surroundings.disk.uki(image.at);
    const title = profiles?.[0].osRelease?.get('PRETTY_NAME');
    // GRUB has no title for an image that does not name its system, and leaves it out.
    if (title === undefined || !selection.takes(image.name, isChosen(chosen, [image.name, title], index))) continue;
    const source = referenceTo(image.at);
    shell.surroundings.budget.menuItem();
    const body = [start(`(${shell.surroundings.disk.nameOf(image.at.volume)})${image.at.path}`)];
    shell.menu.push({ kind: 'grub', title, id: image.name, args: [title], body, submenu: false, source });
  }
  return status.ok;
};

interface Image {
  readonly name: string;
  readonly at: Located;
}

const stem = (name: string): string => name.slice(0, -suffix.length);

/** A path without a device is on the EFI System Partition, from which GRUB was started. */
async function locate(shell: Interpreter, path: string): Promise<Located | string> {
  if (path.startsWith('(')) return shell.locate(path);
  const { disk, note } = shell.surroundings;
  const boot = await noting('looking for boot partitions', note, () => findBootPartitions(disk.volumes));
  if (boot?.esp === undefined) return `${path}: the disk has no EFI System Partition that can be read`;
  return shell.locate(`(${disk.nameOf(boot.esp)})${path}`);
}

async function imagesAt(shell: Interpreter, at: Located | string): Promise<Image[]> {
  const { disk, note } = shell.surroundings;
  if (typeof at === 'string') {
    note(`uki: ${at}`);
    return [];
  }
  const { volume } = at;
  const path = at.path.replace(/\/+$/, '');
  if (path.endsWith(suffix)) return [{ name: path.slice(path.lastIndexOf('/') + 1), at: { volume, path } }];
  const found = ((await disk.list({ volume, path: path === '' ? '/' : path })) ?? []).filter(
    ({ name }) => name.endsWith(suffix) && name.length > suffix.length,
  );
  if (found.length > maxFiles) note(`${path} has ${found.length} images; only ${maxFiles} are read`);
  return found.slice(0, maxFiles).map(({ name }) => ({ name, at: { volume, path: `${path}/${name}` } }));
}

/** `chainloader FILE`, whatever is in the name. */
function start(file: string): Node {
  const word = (value: string) => [{ kind: 'quoted', value }] as const;
  return { kind: 'command', words: [word('chainloader'), word(file)], block: undefined, line: 1 };
}
