/**
 * `blscfg` of the Red Hat family's GRUB, and of GNU GRUB from 2.14 on: makes menu entries of the files in loader/entries
 * (Fedora, RHEL and its kin list their kernels only so). Main thread.
 */
import { parseSnippet, snippetLimit } from '../bls/snippet.js';
import { type BlsEntry, blsScript, blsValue, blsValues, maxBlsFiles } from './bls-entries.js';
import { type Command, status } from './command.js';
import { type Located, referenceTo } from './disk.js';
import { isChosen, selectEntries } from './entry-selection.js';
import type { Interpreter } from './interpreter.js';
import { Parser } from './parser.js';
import type { Node } from './syntax.js';

const directory = '/loader/entries';
const suffix = '.conf';

/**
 * `blscfg [default | non-default | (DEVICE)DIRECTORY | (DEVICE)FILE.conf | ID]`, or with the options of GNU GRUB 2.14.
 */
export const blscfg: Command = async (shell, args) => {
  const selection = selectEntries(args, suffix);
  if (selection === undefined) return status.failed;
  const { path, fallback } = selection;
  if (!(await load(shell, path))) return status.failed;
  if (path !== undefined && fallback && shell.surroundings.bls.sorted.length === 0) await load(shell, undefined);
  const chosen = shell.env.get('default');
  for (const [index, entry] of shell.surroundings.bls.sorted.entries()) {
    if (entry.visible) continue;
    const isDefault = isChosen(chosen, [entry.id, blsValue(entry, 'title')], index);
    if (selection.takes(`${entry.id}${suffix}`, isDefault)) addToMenu(shell, entry);
  }
  return status.ok;
};

async function load(shell: Interpreter, path: string | undefined): Promise<boolean> {
  if (path?.endsWith(suffix)) {
    const at = shell.locate(path);
    if (typeof at === 'string') return false;
    await read(shell, at);
    return true;
  }
  const places = path === undefined ? [shell.env.get('blsdir') ?? directory, `/boot${directory}`] : [path];
  for (const place of places) {
    const at = shell.locate(place);
    if (typeof at === 'string') {
      shell.surroundings.note(at);
      return false;
    }
    const files = await shell.surroundings.disk.list(at);
    if (files === undefined) continue;
    const found = files.map(({ name }) => name).filter((name) => isSnippet(name));
    if (found.length > maxBlsFiles)
      shell.surroundings.note(`${at.path} has ${found.length} entries; only ${maxBlsFiles} are read`);
    for (const name of found.slice(0, maxBlsFiles)) {
      await read(shell, { volume: at.volume, path: `${at.path.replace(/\/+$/, '')}/${name}` });
    }
    return true;
  }
  return true;
}

const isSnippet = (name: string): boolean =>
  !name.startsWith('.') && name.length > suffix.length && name.endsWith(suffix);

async function read(shell: Interpreter, at: Located): Promise<void> {
  const { disk, budget, bls } = shell.surroundings;
  const source = referenceTo(at);
  const text = await disk.readText(at, snippetLimit);
  await budget.turn();
  if (text === undefined) return;
  budget.parsed(text.length);
  const settings = parseSnippet(text, false);
  const id = at.path.slice(at.path.lastIndexOf('/') + 1, -suffix.length);
  const kernel = settings.find(([key]) => key === 'linux')?.[1] ?? '';
  bls.add({ id, settings, source, prefix: await prefixOf(shell, at, kernel), visible: false });
}

/** Where /boot was moved into the root file system, its entries still say `/vmlinuz-...`. */
async function prefixOf(shell: Interpreter, at: Located, kernel: string): Promise<string> {
  const parent = at.path.slice(0, at.path.lastIndexOf('/'));
  const above = parent.endsWith(directory) ? parent.slice(0, -directory.length) : '';
  if (above === '') return '';
  const exists = async (path: string): Promise<boolean> => {
    const found = shell.locate(path);
    return typeof found !== 'string' && (await shell.surroundings.disk.stat(found))?.kind === 'file';
  };
  return !(await exists(kernel)) && (await exists(above + kernel)) ? above : '';
}

function addToMenu(shell: Interpreter, entry: BlsEntry): void {
  const { budget, note } = shell.surroundings;
  const script = blsScript(entry, (name) => shell.env.get(name), budget);
  if (script === undefined) return;
  entry.visible = true;
  budget.menuItem();
  budget.charge(script.length);
  budget.keep(script.length);
  const title = blsValue(entry, 'title') ?? blsValue(entry, 'linux') ?? entry.id;
  shell.menu.push({
    kind: 'blscfg',
    title,
    id: entry.id,
    args: [title, ...blsValues(entry, 'grub_arg')],
    body: parse(script, budget, (text) => note(`${entry.source.path}: ${text}`)),
    submenu: false,
    source: entry.source,
  });
}

function parse(script: string, budget: Interpreter['surroundings']['budget'], note: (text: string) => void): Node[] {
  const parser = new Parser(script, budget);
  const nodes: Node[] = [];
  for (let statement = parser.next(); statement !== undefined; statement = parser.next()) {
    if (statement.kind === 'error') note(statement.message);
    else if (statement.kind !== 'function') nodes.push(statement);
  }
  return nodes;
}
