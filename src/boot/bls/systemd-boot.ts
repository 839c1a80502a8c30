/**
 * What systemd-boot would show and boot: entries of both types of the Boot Loader Specification on the EFI System Partition
 * and the Extended Boot Loader Partition, in its order, and the choice of its loader.conf (systemd-boot(7), loader.conf(5)).
 * Main thread.
 *
 * Without EFI variables there is no saved entry, no one-shot choice and no default set by `bootctl set-default`.
 */
import { type BootEntry, type FoundEntries, firstBootable, isBootable } from '../entries/boot-entry.js';
import { type FileReference, type Volume, volumeName } from '../entries/volume.js';
import { countedName } from './boot-counter.js';
import type { BootPartitions } from './boot-partitions.js';
import { readGrubVariables } from './grub-variables.js';
import { findDefault, type LoaderConfig, parseLoaderConfig } from './loader-config.js';
import { type MenuEntry, type Note, noting } from './menu-entry.js';
import { compareEntries, uniqueTitles } from './menu-order.js';
import { otherLoaders } from './other-loaders.js';
import { snippetLimit } from './snippet.js';
import { readType1 } from './type1.js';
import { readType2 } from './type2.js';

const configPath = '/loader/loader.conf';
export const entryDirectory = '/loader/entries';

/**
 * With `installed`, what its menu adds by itself (Windows, the firmware's set-up) is among the entries. Without, there may be
 * entries all the same, for a boot loader that was removed or is not known: on any of `volumes` then.
 */
export async function findSystemdBootEntries(
  volumes: readonly Volume[],
  { esp, xbootldr }: BootPartitions,
  installed: boolean,
): Promise<FoundEntries> {
  const problems: string[] = [];
  const note: Note = (text) => problems.push(text);
  const menu: MenuEntry[] = [];
  for (const volume of volumes) {
    if (volume === esp || volume === xbootldr) menu.push(...(await entriesOf(volume, installed, note)));
    else if (!installed) menu.push(...(await looseEntries(volume, note)));
  }
  menu.sort(compareEntries);
  const config = (esp && (await noting(configPath, note, () => readConfig(esp)))) ?? parseLoaderConfig('');
  for (const text of config.notes) note(`${configPath}: ${text}`);
  const others = installed && esp !== undefined ? await otherLoaders(esp, config, note) : [];
  return { ...choose(menu, others, config, note), problems };
}

async function readConfig({ fs }: Volume): Promise<LoaderConfig> {
  if ((await fs.stat(configPath))?.kind !== 'file') return parseLoaderConfig('');
  return parseLoaderConfig((await fs.readFile(configPath, snippetLimit)).toString('utf8'));
}

async function entriesOf(volume: Volume, installed: boolean, note: Note): Promise<MenuEntry[]> {
  const found = await noting(volumeName(volume.partition), note, async () => [
    ...(await readType2(volume, note)),
    ...(await readType1(volume, entryDirectory, installed ? undefined : await readGrubVariables(volume), note)),
  ]);
  return found ?? [];
}

async function looseEntries(volume: Volume, note: Note): Promise<MenuEntry[]> {
  const found = await noting(volumeName(volume.partition), note, async () => {
    const variables = await readGrubVariables(volume);
    return [
      ...(await readType1(volume, entryDirectory, variables, note)),
      ...(await readType1(volume, `/boot${entryDirectory}`, variables, note)),
    ];
  });
  return found ?? [];
}

/** The entries of a menu in its order, and the one that systemd-boot would start. */
function choose(
  menu: readonly MenuEntry[],
  others: readonly MenuEntry[],
  config: LoaderConfig,
  note: Note,
): Pick<FoundEntries, 'entries' | 'defaultEntry'> {
  const shown = [...menu.filter((entry) => entry.shown), ...others];
  const all = [...shown, ...menu.filter((entry) => !entry.shown)];
  const entries = bootEntries(all);
  let index = -1;
  if (config.default !== undefined) {
    index = findDefault(
      shown.map(({ id, source }) => ({ id, file: fileName(source).toLowerCase() })),
      config.default,
    );
    if (index < 0 && shown.length > 0) note(`${configPath}: no entry is called '${config.default}' (default)`);
  }
  // Other boot loaders are never started unasked.
  if (index < 0 && shown.length > others.length) index = 0;
  const chosen = entries[index];
  if (chosen !== undefined && isBootable(chosen)) return { entries, defaultEntry: index };
  const instead = firstBootable(entries);
  if (chosen !== undefined) {
    const taken = instead === undefined ? '' : `; taking '${entries[instead]?.title}' instead`;
    note(`the default entry '${chosen.title}' cannot be booted: ${chosen.problem}${taken}`);
  }
  return { entries, defaultEntry: instead };
}

const fileName = ({ path }: FileReference): string => path.slice(path.lastIndexOf('/') + 1);

export function bootEntries(menu: readonly MenuEntry[]): BootEntry[] {
  const titles = uniqueTitles(menu);
  return menu.map(({ kind, fileId, id, source, kernel, initrds, cmdline, problem }, index) => {
    const title = titles[index] ?? id;
    const { name } = countedName(fileName(source));
    return {
      kind,
      title,
      id: kind === 'efi' ? id : `${name}${id.slice(fileId.length)}`,
      path: title,
      indexPath: String(index),
      kernel,
      initrds,
      cmdline,
      source,
      problem,
    };
  });
}
