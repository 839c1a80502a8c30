/**
 * Reads one grub.cfg as GRUB would and lists what its menu offers. Main thread.
 *
 * GRUB runs the body of a menu entry when it is chosen. Here each body is run once, in an interpreter of its own, to learn
 * which kernel it would load. Ubuntu's cloud images try a first boot without initrd and count on GRUB to fall back
 * (`initrdfail`); since that fallback does not exist here, such a body is run again as after a failed boot, and the
 * result with an initrd is preferred.
 */
import { TsvmmError } from '../../errors.js';
import { type BootEntry, type EntryList, firstBootable, isBootable } from '../entries/boot-entry.js';
import { type FileReference, type Volume, volumeName } from '../entries/volume.js';
import { BlsEntries } from './bls-entries.js';
import { Budget, grubLimits } from './budget.js';
import { GrubDisk, referenceTo } from './disk.js';
import { Environment } from './environment.js';
import { Interpreter, type Surroundings } from './interpreter.js';
import { defaultIndex, escapeStep, type MenuItem } from './menu.js';
import { parseNumber } from './numbers.js';
import type { Node } from './syntax.js';

export interface GrubConfig extends EntryList {
  /** What the user should know about the configuration. */
  readonly problems: readonly string[];
}

export interface GrubConfigOptions {
  /** Where the file is. */
  readonly volume: Volume;
  readonly path: string;
  /** What it may cost. */
  readonly budget?: Budget | undefined;
}

/** Problems kept of one configuration. */
const maxProblems = 20;

/** Rejects with `ERR_TSVMM_BOOT_NOT_FOUND` if a limit is hit; any other damage is among the problems. */
export async function readGrubConfig(volumes: readonly Volume[], options: GrubConfigOptions): Promise<GrubConfig> {
  const problems = new Set<string>();
  const note = (text: string): void => {
    if (problems.size < maxProblems) problems.add(text);
  };
  const budget = options.budget ?? new Budget(options.volume.budget);
  const disk = new GrubDisk(volumes, budget, note);
  const root = disk.nameOf(options.volume);
  const prefix = `(${root})${options.path.slice(0, options.path.lastIndexOf('/'))}`;
  const surroundings: Surroundings = { disk, budget, note, bls: new BlsEntries(budget) };
  const shell = new Interpreter(surroundings, Environment.initial(budget, root, prefix), referenceTo(options));
  await shell.source(`(${root})${options.path}`);

  const lister = new MenuLister(surroundings);
  const chosen =
    shell.stopped === 'boot' || shell.menu.length === 0 ? lister.withoutMenu(shell) : await lister.list(shell, [], []);
  const { entries } = lister;
  if (chosen === undefined || isBootable(chosen)) {
    return {
      entries,
      defaultEntry: chosen === undefined ? undefined : entries.indexOf(chosen),
      problems: [...problems],
    };
  }
  const index = fallback(shell, lister) ?? firstBootable(entries);
  const instead = index === undefined ? '' : `; taking '${entries[index]?.path}' instead`;
  return {
    entries,
    defaultEntry: index,
    problems: [`the default entry '${chosen.path}' cannot be booted: ${chosen.problem}${instead}`, ...problems],
  };
}

/** `fallback`: numbers of the entries that GRUB tries after the default one. */
function fallback(shell: Interpreter, { entries, topLevel }: MenuLister): number | undefined {
  for (const word of (shell.env.get('fallback') ?? '').split(/\s+/).slice(0, grubLimits.menuItems)) {
    const number = parseNumber(word);
    const entry = number.valid ? topLevel[number.value] : undefined;
    if (entry !== undefined && isBootable(entry)) return entries.indexOf(entry);
  }
  return undefined;
}

class MenuLister {
  readonly entries: BootEntry[] = [];
  /** What would boot for each item of the first menu. */
  readonly topLevel: (BootEntry | undefined)[] = [];
  readonly #surroundings: Surroundings;

  constructor(surroundings: Surroundings) {
    this.#surroundings = surroundings;
  }

  /** A configuration that loads a kernel by itself has one nameless entry. */
  withoutMenu(shell: Interpreter): BootEntry | undefined {
    if (shell.loader === undefined) return undefined;
    const { partition, path } = sourceOf(shell);
    const title = `${path} of ${volumeName(partition)}`;
    return this.#add(shell, { kind: 'grub', title, id: title }, [title], [0]);
  }

  /** Adds the entries of the menu that `shell` has made; returns the one that would boot. */
  async list(
    shell: Interpreter,
    titles: readonly string[],
    indexes: readonly number[],
  ): Promise<BootEntry | undefined> {
    if (titles.length > grubLimits.menuDepth) {
      throw this.#surroundings.budget.exceeded(`nests submenus deeper than ${grubLimits.menuDepth}`);
    }
    const starts: (BootEntry | undefined)[] = [];
    for (const [index, item] of shell.menu.entries()) {
      const start = await this.#item(shell, item, [...titles, item.title], [...indexes, index]);
      starts.push(start);
      if (titles.length === 0) this.topLevel.push(start);
    }
    return starts[defaultIndex(shell.menu, shell.env.get('default'))];
  }

  async #item(
    shell: Interpreter,
    item: MenuItem,
    titles: readonly string[],
    indexes: readonly number[],
  ): Promise<BootEntry | undefined> {
    try {
      const inner = await this.#enter(shell, item);
      if (item.submenu || inner.stopped === 'menu') return await this.list(inner, titles, indexes);
      return this.#add(inner, item, titles, indexes);
    } catch (error) {
      if (!(error instanceof TsvmmError) || this.#surroundings.budget.exhausted) throw error;
      const failed = new Interpreter(this.#surroundings, shell.env, item.source);
      failed.failure = error.message;
      return this.#add(failed, item, titles, indexes);
    }
  }

  async #enter(shell: Interpreter, item: MenuItem): Promise<Interpreter> {
    const { budget } = this.#surroundings;
    const run = (prepare?: (inner: Interpreter) => void): Promise<Interpreter> =>
      budget.forEntry(async () => {
        const inner = shell.enter(item);
        prepare?.(inner);
        await inner.run(item.body);
        return inner;
      });
    const first = await run();
    if (first.loader?.kind !== 'linux' || first.loader.initrds.length > 0 || !mentionsInitrd(item.body)) return first;
    const second = await run((inner) => inner.env.set('initrdfail', '1'));
    return second.loader?.kind === 'linux' && second.loader.initrds.length > 0 ? second : first;
  }

  #add(
    shell: Interpreter,
    { kind, title, id }: Pick<MenuItem, 'kind' | 'title' | 'id'>,
    titles: readonly string[],
    indexes: readonly number[],
  ): BootEntry {
    const { loader, failure } = shell;
    const linux = loader?.kind === 'linux' ? loader : undefined;
    const texts = [...titles, id, linux?.cmdline, failure];
    this.#surroundings.budget.keep(texts.reduce((sum, text) => sum + (text?.length ?? 0), 0));
    const entry: BootEntry = {
      kind,
      title,
      id,
      path: titles.map(escapeStep).join('>'),
      indexPath: indexes.join('>'),
      kernel: linux?.kernel,
      initrds: linux?.initrds ?? [],
      cmdline: linux?.cmdline ?? '',
      source: sourceOf(shell),
      problem:
        loader?.kind === 'other' ? loader.reason : (failure ?? (linux === undefined ? 'loads no kernel' : undefined)),
    };
    this.entries.push(entry);
    return entry;
  }
}

const sourceOf = ({ loader, file }: Interpreter): FileReference => (loader?.kind === 'linux' ? loader.source : file);

/** Whether a command of these nodes, on any branch, loads an initrd. */
function mentionsInitrd(nodes: readonly Node[]): boolean {
  return nodes.some((node) => {
    if (node.kind === 'command') {
      const [first] = node.words[0] ?? [];
      return first?.kind === 'text' && first.value.startsWith('initrd');
    }
    if (node.kind === 'if')
      return mentionsInitrd(node.otherwise) || node.branches.some(({ body }) => mentionsInitrd(body));
    return mentionsInitrd(node.body);
  });
}
