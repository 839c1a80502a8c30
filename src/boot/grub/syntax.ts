/**
 * The syntax tree of a GRUB script (GNU GRUB 2.06 manual §6.1 "Writing full configuration files directly"). Main thread.
 */

/** One piece of a word. What is quoted is neither split into fields nor matched against file names. */
export type WordPart =
  /** Unquoted text; a backslash still stands before a character that it escapes. */
  | { readonly kind: 'text'; readonly value: string }
  | { readonly kind: 'quoted'; readonly value: string }
  | { readonly kind: 'variable'; readonly name: string; readonly quoted: boolean };

export type Word = readonly WordPart[];

export interface CommandNode {
  readonly kind: 'command';
  readonly words: readonly Word[];
  /** `{ ... }` after the arguments: the body of a menu entry. */
  readonly block: readonly Node[] | undefined;
  readonly line: number;
}

export interface IfNode {
  readonly kind: 'if';
  /** `if` and every `elif`. */
  readonly branches: readonly { readonly condition: readonly Node[]; readonly body: readonly Node[] }[];
  readonly otherwise: readonly Node[];
}

export interface ForNode {
  readonly kind: 'for';
  readonly name: string;
  readonly words: readonly Word[];
  readonly body: readonly Node[];
}

export interface WhileNode {
  readonly kind: 'while';
  /** `until` instead of `while`. */
  readonly until: boolean;
  readonly condition: readonly Node[];
  readonly body: readonly Node[];
}

export type Node = CommandNode | IfNode | ForNode | WhileNode;

/** What stands at the top of a file, where alone a function can be defined. */
export type Statement =
  | Node
  | { readonly kind: 'function'; readonly name: string; readonly body: readonly Node[] }
  /** Text that is no statement; the parser goes on with the line after it, as GRUB does. */
  | { readonly kind: 'error'; readonly message: string; readonly line: number };

/** Words of the grammar where a command may begin; anywhere else they are plain arguments. */
export const reservedWords: ReadonlySet<string> = new Set([
  'case',
  'do',
  'done',
  'elif',
  'else',
  'esac',
  'fi',
  'for',
  'function',
  'if',
  'in',
  'select',
  'then',
  'until',
  'while',
]);
