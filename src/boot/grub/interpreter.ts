/**
 * Runs GRUB scripts (GNU GRUB 2.06 `script/execute.c`; manual §6.2). Main thread.
 *
 * One interpreter is one place in GRUB where commands run: the configuration, or the body of one menu entry, which gets
 * an interpreter of its own so that trying one entry leaves nothing behind for the next. Nothing is ever written to the
 * disk, and everything is paid for from the disk's `Budget`.
 */
import type { FileReference } from '../entries/volume.js';
import type { BlsEntries } from './bls-entries.js';
import { type Budget, grubLimits } from './budget.js';
import { status } from './command.js';
import { commands } from './commands.js';
import { type GrubDisk, type Located, referenceTo } from './disk.js';
import type { Environment } from './environment.js';
import { expandWords, hasWildcard, splitFields, unescapePattern, type Variables } from './expand.js';
import type { Loader } from './kernel-line.js';
import { escapeStep, type Menu, type MenuItem, splitDefault } from './menu.js';
import { Parser } from './parser.js';
import type { CommandNode, ForNode, Node, Statement, WhileNode, Word } from './syntax.js';
import { FileMatcher } from './wildcard.js';

export interface Surroundings {
  readonly disk: GrubDisk;
  readonly budget: Budget;
  /** Tells the user something about the configuration, at most once each. */
  readonly note: (text: string) => void;
  /** What `blscfg` has read: one list, however often and wherever it runs. */
  readonly bls: BlsEntries;
}

export class Interpreter implements Variables {
  readonly surroundings: Surroundings;
  env: Environment;
  /** The file whose commands run. */
  file: FileReference;
  /** Entries that the commands run so far have defined. */
  menu: Menu = [];
  /** What is loaded, to be started by `boot` or by the end of a menu entry. */
  loader: Loader | undefined;
  /** Why the last `linux` or `initrd` loaded nothing. */
  failure: string | undefined;
  /** Set by a command after which GRUB runs no further ones: `boot`, `exit`, a menu that took over. */
  stopped: 'boot' | 'exit' | 'menu' | undefined;
  /** Text of `echo`. */
  output = '';
  readonly #functions: Map<string, readonly Node[]>;
  #args: readonly string[] | undefined;
  #depth = 0;
  #loops = 0;
  #breaks = 0;
  #continuing = false;
  #returning = false;

  constructor(
    surroundings: Surroundings,
    env: Environment,
    file: FileReference,
    functions: ReadonlyMap<string, readonly Node[]> = new Map(),
  ) {
    this.surroundings = surroundings;
    this.env = env;
    this.file = file;
    this.#functions = new Map(functions);
  }

  /** An interpreter for the body of `item`, as GRUB prepares it when that entry is chosen. */
  enter(item: MenuItem): Interpreter {
    const inner = new Interpreter(
      this.surroundings,
      item.submenu ? this.env.open() : this.env.copy(),
      item.source,
      this.#functions,
    );
    const chosen = this.env.get('chosen');
    inner.env.set('chosen', (chosen === undefined ? '' : `${chosen}>`) + escapeStep(item.id));
    inner.env.export('chosen');
    const { rest } = splitDefault(this.env.get('default') ?? '');
    if (rest === undefined) inner.env.unset('default');
    else inner.env.set('default', rest);
    inner.#args = item.args;
    inner.#depth = this.#depth;
    return inner;
  }

  locate(file: string): Located | string {
    return this.surroundings.disk.locate(file, this.env.get('root'));
  }

  fields(name: string, quoted: boolean): readonly string[] {
    const value = this.#special(name);
    if (value !== undefined) {
      if (quoted) return name === '*' && value.length > 0 ? [value.join(' ')] : value;
      return value.flatMap(splitFields);
    }
    const text = this.env.get(name) ?? '';
    this.surroundings.budget.charge(text.length);
    if (text === '') return [];
    return quoted ? [text] : splitFields(text);
  }

  /** `$1`, `$#`, `$@`, `$*`; undefined for an ordinary variable. */
  #special(name: string): readonly string[] | undefined {
    const args = this.#args ?? [];
    if (name === '#') return this.#args === undefined ? [] : [String(args.length)];
    if (name === '@' || name === '*') return args;
    if (!/^[0-9]/.test(name)) return undefined;
    const value = args[Number(name) - 1];
    return value === undefined ? [] : [value];
  }

  // --- scripts and files ---

  /** Parses and runs `text`; mistakes in it are noted as GRUB would print them, and the rest runs. */
  async runText(text: string, name: string): Promise<number> {
    return this.#nested(async () => {
      const parser = new Parser(text, this.surroundings.budget);
      let result: number = status.ok;
      for (let statement = parser.next(); statement !== undefined; statement = parser.next()) {
        result = await this.#statement(statement, name);
        if (this.#interrupted()) break;
      }
      return result;
    });
  }

  async #statement(statement: Statement, name: string): Promise<number> {
    this.surroundings.budget.charge();
    if (statement.kind === 'error') {
      this.surroundings.note(`${name}:${statement.line}: ${statement.message}`);
      return status.failed;
    }
    if (statement.kind !== 'function') return this.#node(statement);
    this.#functions.set(statement.name, statement.body);
    if (this.#functions.size > grubLimits.functions) {
      throw this.surroundings.budget.exceeded(`defines more than ${grubLimits.functions} functions`);
    }
    return status.ok;
  }

  /** `source`: runs a file here. False if it is not there. */
  async source(file: string): Promise<boolean> {
    const at = this.locate(file);
    const text = typeof at === 'string' ? undefined : await this.surroundings.disk.readText(at, grubLimits.fileBytes);
    if (typeof at === 'string' || text === undefined) return false;
    const outerFile = this.file;
    const outer = [this.env.get('config_file'), this.env.get('config_directory')];
    const name = `(${this.surroundings.disk.nameOf(at.volume)})${at.path}`;
    this.file = referenceTo(at);
    this.#setConfig(name, name.slice(0, name.lastIndexOf('/')));
    await this.runText(text, name);
    this.#setConfig(...outer);
    this.file = outerFile;
    return true;
  }

  #setConfig(file?: string, directory?: string): void {
    for (const [name, value] of [
      ['config_file', file],
      ['config_directory', directory],
    ] as const) {
      if (value === undefined) {
        this.env.unset(name);
      } else {
        this.env.set(name, value);
        this.env.export(name);
      }
    }
  }

  /** `configfile`: the menu of another file takes over, if it has one. It sees exported variables only. */
  async configfile(file: string): Promise<boolean> {
    const [env, menu] = [this.env, this.menu];
    this.env = env.open();
    this.menu = [];
    const found = await this.source(file);
    if (this.stopped === undefined && this.menu.length > 0) this.stopped = 'menu';
    if (this.stopped !== 'menu') {
      this.env = env;
      this.menu = menu;
    }
    return found;
  }

  // --- nodes ---

  #interrupted(): boolean {
    return this.stopped !== undefined || this.#returning || this.#breaks > 0;
  }

  async #nested<T>(run: () => Promise<T>): Promise<T> {
    if (++this.#depth > grubLimits.depth) {
      throw this.surroundings.budget.exceeded(`calls itself deeper than ${grubLimits.depth} levels`);
    }
    try {
      return await run();
    } finally {
      this.#depth--;
    }
  }

  async run(nodes: readonly Node[]): Promise<number> {
    let result: number = status.ok;
    for (const node of nodes) {
      if (this.#interrupted()) break;
      result = await this.#node(node);
    }
    return result;
  }

  async #node(node: Node): Promise<number> {
    const result = node.kind === 'command' ? await this.#command(node) : await this.#nested(() => this.#compound(node));
    this.env.set('?', String(result));
    return result;
  }

  async #compound(node: Exclude<Node, CommandNode>): Promise<number> {
    if (node.kind === 'for') return this.#for(node);
    if (node.kind === 'while') return this.#while(node);
    for (const { condition, body } of node.branches) {
      const result = await this.run(condition);
      if (this.stopped !== undefined || this.#returning) return result;
      if (result === status.ok) return this.run(body);
    }
    return this.run(node.otherwise);
  }

  async #for(node: ForNode): Promise<number> {
    const values = await this.#expand(node.words);
    let result: number = status.ok;
    this.#loops++;
    for (const value of values) {
      this.surroundings.budget.charge();
      this.env.set(node.name, value);
      result = await this.run(node.body);
      if (this.#leavesLoop()) break;
    }
    this.#loops--;
    return result;
  }

  async #while(node: WhileNode): Promise<number> {
    let result: number = status.ok;
    this.#loops++;
    for (;;) {
      result = await this.run(node.condition);
      if (this.stopped !== undefined || this.#returning) break;
      if ((result === status.ok) === node.until) break;
      result = await this.run(node.body);
      if (this.#leavesLoop()) break;
    }
    this.#loops--;
    return result;
  }

  /** After a loop's body: whether the loop ends, having consumed its share of `break N` or `continue N`. */
  #leavesLoop(): boolean {
    if (this.stopped !== undefined || this.#returning) return true;
    if (this.#breaks === 0) return false;
    this.#breaks--;
    return !(this.#breaks === 0 && this.#continuing);
  }

  // --- commands ---

  async #expand(words: readonly Word[]): Promise<string[]> {
    const { budget, disk } = this.surroundings;
    const patterns = expandWords(words, this, budget);
    const matcher = new FileMatcher(disk, budget, this.env.get('root'));
    const args: string[] = [];
    let length = 0;
    for (const pattern of patterns) {
      length += pattern.length;
      const files = hasWildcard(pattern) ? await matcher.match(pattern) : [];
      if (files.length > 0) args.push(...files);
      else args.push(unescapePattern(pattern));
    }
    budget.charge(length);
    await budget.turn();
    return args;
  }

  async #command(node: CommandNode): Promise<number> {
    const words = await this.#expand(node.words);
    const invert = words[0] === '!';
    const [name, ...args] = invert ? words.slice(1) : words;
    if (name === undefined) return invert ? status.failed : status.ok;
    const command = commands.get(name);
    const body = command === undefined ? this.#functions.get(name) : undefined;
    if (command === undefined && body === undefined) return this.#assign(name);
    const result = command === undefined ? await this.#call(body ?? [], args) : await command(this, args, node);
    if (!invert) return result;
    return result === status.ok ? status.failed : status.ok;
  }

  /** The last resort: `name=value`. GRUB reports an unknown command but counts it as success. */
  #assign(word: string): number {
    const equals = word.indexOf('=');
    const name = word.slice(0, equals);
    if (equals > 0 && this.#special(name) === undefined) this.env.set(name, word.slice(equals + 1));
    return status.ok;
  }

  async #call(body: readonly Node[], args: readonly string[]): Promise<number> {
    const outer = { args: this.#args, loops: this.#loops };
    this.#args = args;
    this.#loops = 0;
    const result = await this.#nested(() => this.run(body));
    this.#args = outer.args;
    this.#loops = outer.loops;
    this.#returning = false;
    return result;
  }

  /** `break N` and `continue N`. */
  leaveLoops(count: number, continuing: boolean): void {
    this.#breaks = Math.min(count, this.#loops);
    this.#continuing = continuing;
  }

  /** `return`; false outside a function or menu entry. */
  returnFromFunction(): boolean {
    this.#returning = this.#args !== undefined;
    return this.#returning;
  }

  /** `shift N`; false if there are not so many. */
  shift(count: number): boolean {
    if (this.#args === undefined) return true;
    if (count > this.#args.length) return false;
    this.#args = this.#args.slice(count);
    return true;
  }

  /** `setparams`; false where there are no parameters. */
  setParameters(args: readonly string[]): boolean {
    if (this.#args === undefined) return false;
    this.#args = args;
    return true;
  }
}
