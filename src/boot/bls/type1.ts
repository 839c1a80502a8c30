/**
 * Boot Loader Specification entries of type 1, loader/entries/*.conf (UAPI.1 "Type #1 Boot Loader Specification Entries").
 * Main thread.
 *
 * Keys for other machines and firmware are not followed: `devicetree` means nothing on a PC, `extra` and `uki-url` need
 * systemd-boot and its network.
 */
import { maxCommandLine, maxInitrds } from '../disk-budget.js';
import { openUki } from '../entries/open-file.js';
import type { FileReference, Volume } from '../entries/volume.js';
import type { Uki } from '../pe/uki.js';
import { countedName } from './boot-counter.js';
import { expandVariables, tooLong, type Variables } from './grub-variables.js';
import { listFiles, type MenuEntry, type Note, noting } from './menu-entry.js';
import { parseSnippet, type Setting, snippetLimit } from './snippet.js';
import { ukiFiles } from './uki-files.js';

const suffix = /\.conf$/i;
const ours = 'x64';
/** Keys that say what is loaded; an entry has one of them. */
const loaderKeys = ['linux', 'uki', 'uki-url', 'efi'] as const;
type LoaderKey = (typeof loaderKeys)[number];
/** Characters of a title, a version and their like that count. */
const maxShown = 256;

/** `variables`: what `$name` in an entry stands for; undefined where it stands for itself. */
export async function readType1(
  volume: Volume,
  directory: string,
  variables: Variables | undefined,
  note: Note,
): Promise<MenuEntry[]> {
  const entries: MenuEntry[] = [];
  for (const name of await listFiles(volume, directory, suffix, note)) {
    const path = `${directory}/${name}`;
    const entry = await noting(path, note, async () => {
      const text = (await volume.fs.readFile(path, snippetLimit)).toString('utf8');
      return new Type1File(volume, directory, name, parseSnippet(text), variables, note).read();
    });
    if (entry === undefined) continue;
    volume.budget.spend('kept', entry.cmdline.length + (entry.problem?.length ?? 0));
    entries.push(entry);
  }
  return entries;
}

class Type1File {
  readonly #volume: Volume;
  readonly #directory: string;
  readonly #name: string;
  readonly #settings: readonly Setting[];
  readonly #variables: Variables | undefined;
  readonly #note: Note;

  constructor(
    volume: Volume,
    directory: string,
    name: string,
    settings: readonly Setting[],
    variables: Variables | undefined,
    note: Note,
  ) {
    this.#volume = volume;
    this.#directory = directory;
    this.#name = name;
    this.#settings = settings;
    this.#variables = variables;
    this.#note = note;
  }

  /** Undefined if it is not for this machine or loads nothing. */
  async read(): Promise<MenuEntry | undefined> {
    const path = `${this.#directory}/${this.#name}`;
    if (this.#all('architecture').some((word) => word.toLowerCase() !== ours)) return undefined;
    const given = loaderKeys.filter((key) => this.#last(key) !== undefined);
    const [key] = given;
    if (key === undefined || given.length > 1) {
      this.#note(key === undefined ? `${path} names no kernel` : `${path} has both \`${given.join('` and `')}\``);
      return undefined;
    }
    const { name, counter } = countedName(this.#name);
    const id = name.toLowerCase();
    return {
      kind: 'bls',
      id,
      fileId: id,
      counter,
      profile: 0,
      title: this.#shown('title'),
      sortKey: this.#shown('sort-key'),
      version: this.#shown('version'),
      machineId: this.#shown('machine-id'),
      source: { partition: this.#volume.partition, path },
      ...(await this.#loads(key)),
    };
  }

  #all(key: string): string[] {
    return this.#settings.filter(([name]) => name === key).map(([, value]) => value);
  }

  #last(key: string): string | undefined {
    return this.#all(key).at(-1);
  }

  /** What a menu shows and sorts by. */
  #shown(key: string): string | undefined {
    return this.#last(key)?.slice(0, maxShown);
  }

  /** The values of `key` with their variables replaced, together no longer than a command line may be. */
  #expanded(key: string): string[] {
    let length = 0;
    return this.#all(key).map((text) => {
      const expanded = expandVariables(text, this.#variables);
      length += expanded.length;
      if (length > maxCommandLine) throw tooLong();
      return expanded;
    });
  }

  async #loads(key: LoaderKey): Promise<Pick<MenuEntry, 'kernel' | 'initrds' | 'cmdline' | 'problem' | 'shown'>> {
    const cannot = (problem: string, shown = true) =>
      ({ kernel: undefined, initrds: [], cmdline: '', problem, shown }) as const;
    const named = this.#last(key) ?? '';
    if (key === 'uki-url') return cannot(`loads ${named} from the network`);
    const path = await this.#find(named);
    if (path === undefined) return cannot(`${named} does not exist`, false);
    const cmdline = this.#expanded('options').join(' ');
    const uki = await this.#uki(path);
    if (typeof uki === 'string') return cannot(uki);
    if (uki === undefined && key !== 'linux')
      return cannot(key === 'uki' ? `${path} is no unified kernel image` : `starts the EFI program ${path}`);
    const initrds = await this.#initrds();
    if (typeof initrds === 'string') return cannot(initrds);
    if (uki === undefined) {
      const kernel = { partition: this.#volume.partition, path };
      return { kernel, initrds, cmdline, problem: undefined, shown: true };
    }
    const profile = uki[Number(this.#last('profile') ?? 0)];
    if (profile === undefined) return cannot(`${path} has no profile ${this.#last('profile')}`);
    const parts = await ukiFiles(this.#volume, path, profile, this.#note, cmdline);
    return { ...parts, initrds: [...parts.initrds, ...initrds], problem: undefined, shown: true };
  }

  /** The image behind `path`, or why it cannot be used; undefined if it is something else. */
  async #uki(path: string): Promise<Uki | string | undefined> {
    let problem = '';
    const uki = await noting(
      path,
      (text) => (problem = text),
      () => openUki(this.#volume, path),
    );
    return problem === '' ? uki : problem;
  }

  async #initrds(): Promise<FileReference[] | string> {
    const files: FileReference[] = [];
    // GRUB takes several names on one line, and variables among them.
    for (const name of this.#expanded('initrd').flatMap((line) => line.split(/[ \t]+/))) {
      if (name === '') continue;
      if (files.length === maxInitrds) return `it has more than ${maxInitrds} initrds`;
      const path = await this.#find(name);
      if (path === undefined) return `its initrd ${name} does not exist`;
      files.push({ partition: this.#volume.partition, path });
    }
    return files;
  }

  /**
   * The absolute path of a regular file. Paths are relative to the file system that holds the entry; where /boot was moved
   * into the root file system after the entry was written, to the directory that holds `loader`.
   */
  async #find(name: string): Promise<string | undefined> {
    const path = `/${name.replaceAll('\\', '/')}`.replace(/\/+/g, '/');
    const above = this.#directory.slice(0, -'/loader/entries'.length);
    for (const candidate of above === '' ? [path] : [path, `${above}${path}`]) {
      if ((await this.#volume.fs.stat(candidate))?.kind === 'file') return candidate;
    }
    return undefined;
  }
}
