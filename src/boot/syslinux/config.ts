/**
 * The configuration language of SYSLINUX, EXTLINUX and ISOLINUX (SYSLINUX 6 doc/syslinux.txt, doc/menu.txt). Main thread.
 *
 * One command a line, keywords in any case, what is not known is skipped. Included files count as if they stood in place;
 * how many and how deep is limited, since a file may include itself.
 */
import { isKernelType, type KernelType, Keywords } from './keywords.js';

export interface Label {
  readonly name: string;
  /** As the menu shows it, with the titles of the menus around it. */
  readonly titles: readonly string[];
  readonly type: KernelType;
  /** What stands behind the keyword; the label's name if there is none. */
  readonly kernel: string;
  /** Its own, or else the one that stood before the labels; `-` is none. */
  readonly append: string;
  readonly initrd: string | undefined;
  /** What it does instead of loading something: `MENU GOTO` and its like. */
  readonly action: string | undefined;
  /** The file that defines it. */
  readonly source: string;
}

export interface Menu {
  /** Entries and menus below, in order; hidden entries are not among them. */
  readonly items: (Label | Menu)[];
  /** Position in `items`. */
  defaultItem: number;
  title: string;
  readonly parent: Menu | undefined;
}

export interface SyslinuxConfig {
  readonly root: Menu;
  /** All of them, in order. */
  readonly labels: readonly Label[];
  /** Where the menu begins: `MENU START`. */
  readonly start: Menu;
  /** `DEFAULT`, whatever else is given. */
  readonly globalDefault: string | undefined;
  /** What runs at once: `UI`, else `DEFAULT`. */
  readonly command: string | undefined;
  /** `ONTIMEOUT`. */
  readonly onTimeout: string | undefined;
  /** Whether somebody is waited for, for a limited time only. */
  readonly timesOut: boolean;
  /** `PROMPT`: whether to wait for somebody where there is no menu. */
  readonly prompts: boolean;
  readonly append: string;
}

export const syslinuxLimits = {
  fileBytes: 1 << 20,
  totalBytes: 4 << 20,
  files: 64,
  depth: 16,
  labels: 512,
  menus: 512,
  menuDepth: 16,
} as const;

/** The text of a file named in a configuration and its absolute path; undefined if it is not there. */
export type ReadConfig = (name: string) => Promise<{ readonly path: string; readonly text: string } | undefined>;

interface Draft {
  name: string;
  type: KernelType;
  kernel: string;
  append: string | undefined;
  initrd: string | undefined;
  title: string | undefined;
  action: string | undefined;
  isDefault: boolean;
  hidden: boolean;
  disabled: boolean;
  readonly source: string;
}

export class ConfigParser {
  readonly root: Menu = { items: [], defaultItem: 0, title: '', parent: undefined };
  readonly #read: ReadConfig;
  readonly #note: (text: string) => void;
  readonly #turn: () => Promise<void> | undefined;
  readonly #labels: Label[] = [];
  #menu = this.root;
  #menus = 0;
  /** For each `MENU BEGIN` whose end is awaited: whether it made a menu, or came too deep or too late for one. */
  readonly #openMenus: boolean[] = [];
  #start = this.root;
  #draft: Draft | undefined;
  #append = '';
  #globalDefault: string | undefined;
  #ui: string | undefined;
  #onTimeout: string | undefined;
  #timeout = 0;
  #prompts = false;
  #files = 0;
  #bytes = 0;
  #depth = 0;
  #inText = false;

  /** `turn` is asked before each line whether the event loop should turn. */
  constructor(read: ReadConfig, note: (text: string) => void, turn: () => Promise<void> | undefined = () => undefined) {
    this.#read = read;
    this.#note = note;
    this.#turn = turn;
  }

  /** False if the file is not there. */
  async include(name: string): Promise<boolean> {
    if (this.#depth === syslinuxLimits.depth)
      return this.#refuse(`files include each other deeper than ${this.#depth}`);
    if (this.#files === syslinuxLimits.files) return this.#refuse(`more than ${this.#files} files are included`);
    this.#files++;
    const file = await this.#read(name);
    if (file === undefined) return false;
    this.#bytes += file.text.length;
    if (this.#bytes > syslinuxLimits.totalBytes)
      return this.#refuse(`the configuration has more than ${syslinuxLimits.totalBytes} bytes`);
    this.#depth++;
    for (const line of file.text.split('\n')) {
      await this.#turn();
      const [words, rest] = split(line.replace(/\r.*$/s, ''));
      if (this.#inText) this.#inText = words !== 'endtext';
      else if (words !== '') await this.#line(words, rest, file.path);
    }
    this.#depth--;
    return true;
  }

  finish(): SyslinuxConfig {
    this.#record();
    return {
      root: this.root,
      labels: this.#labels,
      start: this.#start,
      globalDefault: this.#globalDefault,
      command: this.#ui ?? this.#globalDefault,
      onTimeout: this.#onTimeout,
      timesOut: this.#timeout > 0,
      prompts: this.#prompts,
      append: this.#append,
    };
  }

  #refuse(what: string): false {
    this.#note(what);
    return false;
  }

  async #line(keyword: string, rest: string, source: string): Promise<void> {
    if (keyword === 'menu') return this.#menuLine(rest, source);
    const draft = this.#draft;
    if (isKernelType(keyword)) {
      if (draft === undefined) return;
      draft.type = keyword;
      draft.kernel = rest;
      return;
    }
    switch (keyword) {
      case Keywords.text:
        this.#inText = true;
        break;
      case Keywords.include: {
        const [name = ''] = rest.split(/[ \t]+/, 1);
        if (!(await this.include(name))) this.#note(`${name}, which ${source} includes, is not used`);
        break;
      }
      case Keywords.label: {
        const [name = ''] = rest.split(/[ \t]+/, 1);
        this.#begin(name, source);
        break;
      }
      case Keywords.append:
        if (draft === undefined) this.#append = rest;
        else draft.append = rest;
        break;
      case Keywords.initrd:
        if (draft !== undefined) draft.initrd = rest;
        break;
      case Keywords.default:
        this.#globalDefault = rest;
        break;
      case Keywords.ui:
        this.#ui = rest;
        break;
      case Keywords.onTimeout:
        this.#onTimeout = rest;
        break;
      case Keywords.timeout:
        this.#timeout = Number.parseInt(rest, 10) || 0;
        break;
      case Keywords.prompt:
        this.#prompts = Number.parseInt(rest, 10) > 0;
        break;
    }
  }

  async #menuLine(text: string, source: string): Promise<void> {
    const [keyword, rest] = split(text);
    const draft = this.#draft;
    switch (keyword) {
      case Keywords.label:
        if (draft !== undefined) draft.title = rest;
        else if (this.#menu.parent !== undefined) this.#menu.title = rest;
        break;
      case Keywords.title:
        if (this.#menu.title === '') this.#menu.title = rest;
        break;
      case Keywords.default:
        if (draft !== undefined) draft.isDefault = true;
        else if (this.#menu.parent !== undefined)
          this.#menu.parent.defaultItem = this.#menu.parent.items.indexOf(this.#menu);
        break;
      case Keywords.hide:
        if (draft !== undefined) draft.hidden = true;
        break;
      case Keywords.disable:
      case Keywords.disabled:
        if (draft !== undefined) draft.disabled = true;
        break;
      case Keywords.goto:
      case Keywords.exit:
      case Keywords.quit:
        if (draft !== undefined) draft.action = keyword === Keywords.quit ? 'leaves the menu' : 'leads to another menu';
        break;
      case Keywords.separator:
        this.#record();
        break;
      case Keywords.begin:
        this.#beginMenu(rest);
        break;
      case Keywords.end:
        this.#endMenu();
        break;
      case Keywords.start:
        this.#start = this.#menu;
        break;
      case Keywords.include: {
        const [name = '', ...title] = rest.split(/[ \t]+/);
        if (title.length > 0) this.#beginMenu(title.join(' '));
        if (!(await this.include(name))) this.#note(`${name}, which ${source} includes, is not used`);
        if (title.length > 0) this.#endMenu();
        break;
      }
    }
  }

  #begin(name: string, source: string): void {
    this.#record();
    this.#draft = {
      name,
      type: 'kernel',
      kernel: name,
      append: undefined,
      initrd: undefined,
      title: undefined,
      action: undefined,
      isDefault: false,
      hidden: false,
      disabled: false,
      source,
    };
  }

  #beginMenu(title: string): void {
    this.#record();
    const opens = this.#openMenus.length < syslinuxLimits.menuDepth && this.#menus < syslinuxLimits.menus;
    this.#openMenus.push(opens);
    if (!opens) return;
    this.#menus++;
    const menu: Menu = { items: [], defaultItem: 0, title, parent: this.#menu };
    this.#menu.items.push(menu);
    this.#menu = menu;
  }

  #endMenu(): void {
    this.#record();
    if (this.#openMenus.pop() === true) this.#menu = this.#menu.parent ?? this.#menu;
  }

  /** The label whose lines have ended. */
  #record(): void {
    const draft = this.#draft;
    this.#draft = undefined;
    if (draft === undefined || draft.name === '' || draft.disabled) return;
    if (this.#labels.length === syslinuxLimits.labels) {
      this.#note(`there are more than ${syslinuxLimits.labels} labels; the rest is left out`);
      return;
    }
    const append = draft.append ?? this.#append;
    const titles = [plain(draft.title ?? draft.name).trim() || draft.name];
    for (let menu: Menu = this.#menu; menu.parent !== undefined; menu = menu.parent) titles.unshift(plain(menu.title));
    const { name, type, kernel, initrd, action, source } = draft;
    const label: Label = { name, titles, type, kernel, append: append === '-' ? '' : append, initrd, action, source };
    this.#labels.push(label);
    if (draft.hidden) return;
    if (draft.isDefault && action === undefined) this.#menu.defaultItem = this.#menu.items.length;
    this.#menu.items.push(label);
  }
}

/** A caret stands before the letter that chooses an entry. */
const plain = (title: string): string => title.replace('^', '');

/** The first word in lower case, and what follows it. */
function split(line: string): [keyword: string, rest: string] {
  const trimmed = line.trim();
  const end = trimmed.search(/[ \t]/);
  return end < 0 ? [trimmed.toLowerCase(), ''] : [trimmed.slice(0, end).toLowerCase(), trimmed.slice(end).trim()];
}
