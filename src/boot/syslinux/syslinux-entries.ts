/**
 * What a SYSLINUX, EXTLINUX or ISOLINUX configuration offers, and which label boots when nobody presses a key. Main thread.
 */
import { noting } from '../bls/menu-entry.js';
import { DiskBudget, maxCommandLine, maxInitrds } from '../disk-budget.js';
import { type BootEntry, type FoundEntries, firstBootable, isBootable } from '../entries/boot-entry.js';
import { type FileReference, type Volume, volumeName } from '../entries/volume.js';
import { escapeStep } from '../grub/menu.js';
import { ConfigParser, type Label, type Menu, type ReadConfig, type SyslinuxConfig, syslinuxLimits } from './config.js';
import { findConfigs } from './config-places.js';
import { isMenuModule, moduleProblem, otherTypes, typeOf } from './keywords.js';

/** Configurations read on one disk. */
const maxConfigs = 8;
/** Problems kept of one configuration. */
const maxProblems = 20;

/** The first configuration with something bootable; else the first with anything. */
export async function findSyslinuxEntries(
  volumes: readonly Volume[],
  budget = new DiskBudget(),
): Promise<FoundEntries> {
  const problems: string[] = [];
  let first: FoundEntries | undefined;
  let configs = 0;
  for (const volume of volumes) {
    const note = (text: string): void => void problems.push(text);
    const where = volumeName(volume.partition);
    for (const path of (await noting(where, note, () => findConfigs(volume))) ?? []) {
      budget.check();
      if (++configs > maxConfigs) break;
      const found = await noting(`${path} of ${where}`, note, () => readSyslinuxConfig(volume, path));
      if (found?.entries.some(isBootable)) return { ...found, problems: [...problems, ...found.problems] };
      if (found !== undefined && found.entries.length > 0) first ??= found;
    }
  }
  return { entries: [], defaultEntry: undefined, ...first, problems: [...problems, ...(first?.problems ?? [])] };
}

export async function readSyslinuxConfig(volume: Volume, path: string): Promise<FoundEntries> {
  const problems = new Set<string>();
  const note = (text: string): void => {
    if (problems.size < maxProblems) problems.add(`${path} of ${volumeName(volume.partition)}: ${text}`);
  };
  const files = new Files(volume, path.slice(0, path.lastIndexOf('/')));
  const { entries, chosen } = await readMenu(path, files, new Set([path]), note);
  const entry = chosen === undefined ? undefined : entries[chosen];
  if (entry !== undefined && isBootable(entry)) return { entries, defaultEntry: chosen, problems: [...problems] };
  const instead = firstBootable(entries);
  if (entry !== undefined) {
    const taken = instead === undefined ? '' : `; taking '${entries[instead]?.path}' instead`;
    note(`the default label '${entry.id}' cannot be booted: ${entry.problem}${taken}`);
  }
  return { entries, defaultEntry: instead, problems: [...problems] };
}

interface FoundLabels {
  readonly entries: readonly BootEntry[];
  /** Position of what boots when nobody presses a key. */
  readonly chosen: number | undefined;
}

type TellNote = (text: string) => void;

/** The entries of the configuration at `path` and of those that its labels go on with; `followed` are the ones read so far. */
async function readMenu(path: string, files: Files, followed: Set<string>, note: TellNote): Promise<FoundLabels> {
  let config = await parse([path], files, note);
  // A menu may be told to show other files than the one that started it; `~` stands for that one.
  const [command = '', ...others] = (config.command ?? '').split(/[ \t]+/);
  if (isMenuModule(command) && others.length > 0) {
    const names = others.slice(0, syslinuxLimits.files).map((name) => (name === '~' ? path : name));
    const shown = await parse(names, files, note);
    if (shown.labels.length > 0) config = { ...shown, command };
  }
  const labels = [...config.labels, ...implicitLabels(config, path)];
  const first = choose(config, labels);
  const entries: BootEntry[] = [];
  let chosen: number | undefined;
  for (const [index, label] of labels.entries()) {
    const below = label.type === 'config' ? await readBelow(label, files, followed, note) : undefined;
    if (label === first) {
      const at = below === undefined ? 0 : below.chosen;
      chosen = at === undefined ? undefined : entries.length + at;
    }
    if (below === undefined) entries.push(await entryOf(label, index, files));
    else entries.push(...below.entries.map((entry) => entryBelow(label, index, entry)));
  }
  return { entries, chosen };
}

/**
 * What `CONFIG FILE [DIRECTORY]` goes on with; undefined if that cannot be followed or offers nothing. Names in it are relative
 * to the directory, or to that of the configuration before.
 */
async function readBelow(
  { action, kernel }: Label,
  files: Files,
  followed: Set<string>,
  note: TellNote,
): Promise<FoundLabels | undefined> {
  if (action !== undefined) return undefined;
  const [name = '', directory] = kernel.split(/[ \t]+/);
  const path = (await files.find(name))?.path;
  // A label that leads back is how menus are left again.
  if (path === undefined || followed.has(path)) return undefined;
  if (followed.size === maxConfigs) {
    note(`${name} is not used: more than ${maxConfigs} configurations go on with each other`);
    return undefined;
  }
  followed.add(path);
  const below = await readMenu(path, files.at(directory), followed, note);
  return below.entries.length === 0 ? undefined : below;
}

const entryBelow = ({ titles }: Label, index: number, entry: BootEntry): BootEntry => ({
  ...entry,
  path: [...titles.map(escapeStep), entry.path].join('>'),
  indexPath: `${index}>${entry.indexPath}`,
});

async function parse(names: readonly string[], files: Files, note: (text: string) => void): Promise<SyslinuxConfig> {
  const parser = new ConfigParser(files.read, note, () => files.budget.turn());
  for (const name of names) if (!(await parser.include(name))) note(`${name} is not used`);
  return parser.finish();
}

const firstWord = (command: string | undefined): string => command?.split(/[ \t]+/, 1)[0] ?? '';

/** `DEFAULT` and `ONTIMEOUT` may name a kernel and its parameters instead of a label. */
function implicitLabels(config: SyslinuxConfig, source: string): Label[] {
  const found: Label[] = [];
  for (const command of new Set([config.globalDefault, config.onTimeout])) {
    const name = firstWord(command);
    const known = [...config.labels, ...found].some((label) => label.name === name);
    if (command === undefined || name === '' || known || isMenuModule(name)) continue;
    found.push({
      name,
      titles: [name],
      type: 'kernel',
      kernel: command,
      append: config.append === '-' ? '' : config.append,
      initrd: undefined,
      action: undefined,
      source,
    });
  }
  return found;
}

/** The label that boots when nobody presses a key. */
function choose(config: SyslinuxConfig, labels: readonly Label[]): Label | undefined {
  const named = (command: string | undefined): Label | undefined =>
    labels.find(({ name }) => name === firstWord(command));
  const showsMenu = isMenuModule(firstWord(config.command));
  const waits = showsMenu || config.prompts;
  if (waits && config.timesOut && config.onTimeout !== undefined) return named(config.onTimeout);
  return named(showsMenu ? config.globalDefault : config.command) ?? (showsMenu ? defaultIn(config.start) : undefined);
}

function defaultIn(menu: Menu): Label | undefined {
  const item = menu.items[menu.defaultItem];
  return item !== undefined && 'items' in item ? defaultIn(item) : item;
}

async function entryOf(label: Label, index: number, files: Files): Promise<BootEntry> {
  const title = label.titles.at(-1) ?? label.name;
  const loaded = await loads(label, files);
  const texts = [...label.titles, title, label.name, loaded.cmdline, loaded.problem];
  files.budget.spend(
    'kept',
    texts.reduce((sum: number, text) => sum + (text?.length ?? 0), 0),
  );
  return {
    kind: 'syslinux',
    title,
    id: label.name,
    path: label.titles.map(escapeStep).join('>'),
    indexPath: String(index),
    source: files.reference(label.source),
    ...loaded,
  };
}

async function loads(
  label: Label,
  files: Files,
): Promise<Pick<BootEntry, 'kernel' | 'initrds' | 'cmdline' | 'problem'>> {
  const cannot = (problem: string) => ({ kernel: undefined, initrds: [], cmdline: '', problem }) as const;
  if (label.action !== undefined) return cannot(label.action);
  const initrd = label.initrd === undefined ? '' : `initrd=${label.initrd}`;
  if (label.kernel.length + label.append.length + initrd.length > maxCommandLine)
    return cannot(`its command line has more than ${maxCommandLine} characters`);
  const words = [label.kernel, label.append, initrd]
    .filter((text) => text !== '')
    .join(' ')
    .split(/[ \t]+/);
  let type = typeOf(label.type, words[0] ?? '');
  if (type === 'com32' && /(^|\/)linux\.c32$/i.test(words[0] ?? '')) {
    words.shift();
    type = 'linux';
  }
  const [name = '', ...args] = words;
  if (type === 'com32') return cannot(moduleProblem(name));
  if (type !== 'linux' && type !== 'kernel') return cannot(otherTypes[type]);
  const kernel = await files.find(name);
  if (kernel === undefined) return cannot(`${name === '' ? 'the kernel' : name} does not exist`);
  const initrds: FileReference[] = [];
  const list = args.findLast((word) => word.startsWith('initrd='))?.slice('initrd='.length) ?? '';
  for (const file of list.split(',').filter((part) => part !== '')) {
    const found = await files.find(file);
    if (found === undefined) return cannot(`its initrd ${file} does not exist`);
    if (initrds.length === maxInitrds) return cannot(`it has more than ${maxInitrds} initrds`);
    initrds.push(found);
  }
  return { kernel, initrds, cmdline: [`BOOT_IMAGE=${name}`, ...args].join(' '), problem: undefined };
}

/** Files as a configuration names them: relative to its own directory unless they begin with a slash. */
class Files {
  readonly #volume: Volume;
  readonly #directory: string;

  constructor(volume: Volume, directory: string) {
    this.#volume = volume;
    this.#directory = directory;
  }

  get budget(): DiskBudget {
    return this.#volume.budget;
  }

  reference(path: string): FileReference {
    return { partition: this.#volume.partition, path };
  }

  async find(name: string): Promise<FileReference | undefined> {
    if (name === '') return undefined;
    const path = this.#absolute(name);
    return (await this.#volume.fs.stat(path))?.kind === 'file' ? this.reference(path) : undefined;
  }

  /** The same files, seen from another directory if one is given. */
  at(directory: string | undefined): Files {
    return directory === undefined ? this : new Files(this.#volume, this.#absolute(directory));
  }

  readonly read: ReadConfig = async (name) => {
    const found = await this.find(name);
    if (found === undefined) return undefined;
    const content = await this.#volume.fs.readFile(found.path, syslinuxLimits.fileBytes);
    return { path: found.path, text: content.toString('utf8').replaceAll('\0', ' ') };
  };

  #absolute(name: string): string {
    const path = name.replace(/^::/, '/').replaceAll('\\', '/');
    return (path.startsWith('/') ? path : `${this.#directory}/${path}`).replace(/\/+/g, '/');
  }
}
