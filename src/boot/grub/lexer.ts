/**
 * Cuts a GRUB script into tokens (GNU GRUB 2.06 manual §6.2 "Writing full configuration files": words, quoting, variable
 * expansion, comments). Main thread.
 *
 * The language looks like a shell's but differs: `{` and `}` always end a word, `$` must begin a variable, and the
 * operators `| & < > && || ;;` are read but are never valid.
 */
import type { Word, WordPart } from './syntax.js';

export type Token =
  | { readonly kind: 'word'; readonly parts: Word; readonly name: string | undefined; readonly line: number }
  | { readonly kind: 'newline' | ';' | '{' | '}' | 'end'; readonly line: number }
  | { readonly kind: 'bad'; readonly message: string; readonly line: number };

const nameAt = /[A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?#*@]/y;
const bracedNameAt = /\{([A-Za-z_][A-Za-z0-9_]*|[0-9]+|[?#*@])\}/y;
const wholeName = /^[A-Za-z_][A-Za-z0-9_]*$/;
/** Ends an unquoted word. */
const separators = new Set([' ', '\t', '\n', '{', '}', '|', '&', ';', '<', '>']);
/** A run of characters that need no thought inside an unquoted word / inside double quotes. */
const plainRun = /[^{}|&$;<> \t\n'"\\]+/y;
const quotedRun = /[^"$\\]+/y;
const unclosedDouble = 'a double quote is never closed';

export class Lexer {
  readonly #text: string;
  #at = 0;
  #line = 1;

  constructor(text: string) {
    this.#text = text;
  }

  next(): Token {
    this.#skipBlanks();
    const line = this.#line;
    const char = this.#text[this.#at];
    switch (char) {
      case undefined:
        return { kind: 'end', line };
      case '\n':
        this.#at++;
        this.#line++;
        return { kind: 'newline', line };
      case '{':
      case '}':
        this.#at++;
        return { kind: char, line };
      case ';':
        this.#at++;
        if (this.#text[this.#at] !== ';') return { kind: ';', line };
        return this.#bad("';;' is not supported by GRUB");
      case '|':
      case '&':
      case '<':
      case '>':
        this.#at++;
        return this.#bad(`'${char}' is not supported by GRUB; quote it`);
      default:
        return this.#word(line);
    }
  }

  /** To the first character after this line: where reading goes on after a mistake. */
  skipLine(): void {
    const end = this.#text.indexOf('\n', this.#at);
    this.#at = end < 0 ? this.#text.length : end + 1;
    this.#line++;
  }

  #skipBlanks(): void {
    for (;;) {
      const char = this.#text[this.#at];
      if (char === ' ' || char === '\t') {
        this.#at++;
      } else if (char === '#') {
        const end = this.#text.indexOf('\n', this.#at);
        this.#at = end < 0 ? this.#text.length : end;
      } else {
        return;
      }
    }
  }

  #bad(message: string): Token {
    return { kind: 'bad', message, line: this.#line };
  }

  /** The rest of the file is inside the quotes, so it is lost. */
  #unclosedSingle(): Token {
    this.#at = this.#text.length;
    return this.#bad('a single quote is never closed');
  }

  #take(pattern: RegExp): RegExpExecArray | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match !== null) this.#at = pattern.lastIndex;
    return match;
  }

  #word(line: number): Token {
    const start = this.#at;
    const parts: WordPart[] = [];
    let text = '';
    const flush = (): void => {
      if (text !== '') parts.push({ kind: 'text', value: text });
      text = '';
    };
    for (;;) {
      const char = this.#text[this.#at];
      if (char === undefined || separators.has(char)) break;
      if (char === '\\') {
        const escaped = this.#text[this.#at + 1];
        if (escaped === undefined) return this.#bad("'\\' at the end of the file");
        if (escaped === '\n') this.#line++;
        else text += char + escaped;
        this.#at += 2;
      } else if (char === "'") {
        flush();
        const end = this.#text.indexOf("'", this.#at + 1);
        if (end < 0) return this.#unclosedSingle();
        const value = this.#text.slice(this.#at + 1, end);
        this.#countLines(value);
        parts.push({ kind: 'quoted', value });
        this.#at = end + 1;
      } else if (char === '"' || (char === '$' && this.#text[this.#at + 1] === '"')) {
        flush();
        const problem = this.#doubleQuoted(parts, char === '$');
        if (problem !== undefined) return this.#bad(problem);
      } else if (char === '$') {
        flush();
        this.#at++;
        const name = this.#variable();
        if (name === undefined) return this.#bad("'$' is not followed by a variable name; quote it");
        parts.push({ kind: 'variable', name, quoted: false });
      } else {
        text += this.#take(plainRun)?.[0] ?? '';
      }
    }
    flush();
    const raw = this.#text.slice(start, this.#at);
    if (raw === '[[' || raw === ']]') return this.#bad(`'${raw}' is not supported by GRUB`);
    return { kind: 'word', parts, name: wholeName.test(raw) ? raw : undefined, line };
  }

  /** `"..."`, or the translatable `$"..."` in which a lone `$` is text; returns what is wrong with it. */
  #doubleQuoted(parts: WordPart[], translated: boolean): string | undefined {
    this.#at += translated ? 2 : 1;
    let text = '';
    for (;;) {
      text += this.#take(quotedRun)?.[0] ?? '';
      const char = this.#text[this.#at];
      if (char === undefined) return unclosedDouble;
      this.#at++;
      if (char === '"') {
        this.#countLines(text);
        parts.push({ kind: 'quoted', value: text });
        return undefined;
      }
      if (char === '\\') {
        const escaped = this.#text[this.#at];
        if (escaped === undefined) return unclosedDouble;
        this.#at++;
        if (escaped === '\n') this.#line++;
        else text += escaped === '$' || escaped === '\\' || escaped === '"' ? escaped : char + escaped;
        continue;
      }
      const name = this.#variable();
      if (name !== undefined) {
        this.#countLines(text);
        parts.push({ kind: 'quoted', value: text }, { kind: 'variable', name, quoted: true });
        text = '';
      } else if (translated) {
        text += '$';
      } else {
        return "'$' in double quotes is not followed by a variable name";
      }
    }
  }

  #variable(): string | undefined {
    const braced = this.#take(bracedNameAt);
    return braced === null ? this.#take(nameAt)?.[0] : braced[1];
  }

  #countLines(text: string): void {
    for (let at = text.indexOf('\n'); at >= 0; at = text.indexOf('\n', at + 1)) this.#line++;
  }
}
